/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * gcfreeze.c - gc.freeze of CPython 3.7 for an unpatched CPython 2.7.
 *
 * 2.7 keeps its tracked objects in three rings, whose heads are in one static array:
 *
 *   struct gc_generation { PyGC_Head head; int threshold; int count; } generations[3];
 *
 * It exports a pointer to the first head, _PyGC_generation0, as extensions track objects inline.
 * So the rest is found by arithmetic, which depends on how the interpreter was built (40 bytes
 * each since 2.7.17, 48 before). Nothing is changed before all of this has been seen to hold:
 * the heads are rings; the two numbers behind them are what gc.get_threshold() and gc.get_count()
 * say, and follow when gc.set_threshold() changes them; a new list shows up at the end of the
 * first ring. Otherwise the import fails and says why.
 *
 * freeze() joins the three rings to one of our own, in a few writes whatever their lengths. The
 * collector never looks there; an object that dies unlinks itself from whatever ring it is in.
 */
#include <Python.h>

#if PY_MAJOR_VERSION != 2 || PY_MINOR_VERSION != 7
#error "gcfreeze is for CPython 2.7; later ones have gc.freeze"
#endif

#define GENERATIONS 3
#define RING_LOOK   1000 /* objects of each ring whose links are checked at import */

static PyGC_Head permanent;

/* of generations[]; set once they are proven */
static PyGC_Head *heads[GENERATIONS];

static int *threshold_of(PyGC_Head *head)
{
	return (int *)(void *)(head + 1);
}

static int *count_of(PyGC_Head *head)
{
	return threshold_of(head) + 1;
}

/* ---- is it as we think? ---- */

static int is_ring(const PyGC_Head *head)
{
	const PyGC_Head *at = head;
	int i;

	for (i = 0; i < RING_LOOK; i++) {
		const PyGC_Head *next = at->gc.gc_next;

		if (!next || (size_t)next % sizeof(void *) || next->gc.gc_prev != at)
			return 0;
		if (next == head)
			return 1;
		at = next;
	}
	return 1;
}

/* What gc.NAME() gives: three numbers. */
static int ask_gc(PyObject *gc, const char *name, int numbers[GENERATIONS])
{
	PyObject *tuple = PyObject_CallMethod(gc, (char *)name, NULL);
	int good = tuple && PyArg_ParseTuple(tuple, "iii", &numbers[0], &numbers[1], &numbers[2]);

	Py_XDECREF(tuple);
	return good;
}

static int same_thresholds(PyObject *gc, PyGC_Head *const at[GENERATIONS])
{
	int numbers[GENERATIONS], i;

	if (!ask_gc(gc, "get_threshold", numbers))
		return 0;
	for (i = 0; i < GENERATIONS; i++) {
		if (*threshold_of(at[i]) != numbers[i])
			return 0;
	}
	return 1;
}

/* The call itself makes a tuple or two, so the first count may move by that. */
static int same_counts(PyObject *gc, PyGC_Head *const at[GENERATIONS])
{
	int numbers[GENERATIONS], before = *count_of(at[0]);

	if (!ask_gc(gc, "get_count", numbers))
		return 0;
	return numbers[0] >= before && numbers[0] <= *count_of(at[0]) && numbers[0] - before < 8 &&
	       numbers[1] == *count_of(at[1]) && numbers[2] == *count_of(at[2]);
}

static int set_thresholds(PyObject *gc, const int numbers[GENERATIONS])
{
	PyObject *none =
		PyObject_CallMethod(gc, "set_threshold", "iii", numbers[0], numbers[1], numbers[2]);

	Py_XDECREF(none);
	return none != NULL;
}

/* Numbers that nothing else in memory would be changed to and back. */
static int follows_thresholds(PyObject *gc, PyGC_Head *const at[GENERATIONS])
{
	static const int unlikely[GENERATIONS] = { 1850372911, 1432091877, 1928374650 };
	int before[GENERATIONS], good;

	if (!ask_gc(gc, "get_threshold", before) || !set_thresholds(gc, unlikely))
		return 0;
	good = *threshold_of(at[0]) == unlikely[0] && *threshold_of(at[1]) == unlikely[1] &&
	       *threshold_of(at[2]) == unlikely[2] && same_thresholds(gc, at);
	return set_thresholds(gc, before) && good;
}

static int new_list_is_last(const PyGC_Head *head)
{
	PyObject *list = PyList_New(0);
	int good = list && head->gc.gc_prev == _Py_AS_GC(list);

	Py_XDECREF(list);
	return good;
}

/* Return: what is wrong with generations that are @stride bytes each, or NULL. */
static const char *try_layout(PyObject *gc, size_t stride)
{
	PyGC_Head *at[GENERATIONS];
	int i;

	for (i = 0; i < GENERATIONS; i++)
		at[i] = (PyGC_Head *)(void *)((char *)_PyGC_generation0 + (size_t)i * stride);
	if (!same_thresholds(gc, at))
		return "the thresholds are not beside the generations";
	if (!same_counts(gc, at))
		return "the counts are not beside the generations";
	for (i = 0; i < GENERATIONS; i++) {
		if (!is_ring(at[i]))
			return "a generation is not a ring of objects";
	}
	if (!new_list_is_last(at[0]))
		return "a new object does not come to the youngest generation";
	if (!follows_thresholds(gc, at))
		return "gc.set_threshold() changes something else";
	for (i = 0; i < GENERATIONS; i++)
		heads[i] = at[i];
	return NULL;
}

static const char *find_generations(void)
{
	static const size_t strides[] = { sizeof(PyGC_Head) + 8, 40, 48 };
	const char *wrong = "_PyGC_generation0 is not set";
	PyObject *gc = PyImport_ImportModule("gc");
	size_t i;

	if (!gc) {
		PyErr_Clear();
		return "there is no module gc";
	}
	for (i = 0; _PyGC_generation0 && i < sizeof(strides) / sizeof(strides[0]); i++) {
		wrong = try_layout(gc, strides[i]);
		PyErr_Clear();
		if (!wrong)
			break;
	}
	Py_DECREF(gc);
	return wrong;
}

/* ---- the functions ---- */

static void clear_ring(PyGC_Head *ring)
{
	ring->gc.gc_next = ring->gc.gc_prev = ring;
}

/* Put all of @from at the end of @to. */
static void join(PyGC_Head *from, PyGC_Head *to)
{
	if (from->gc.gc_next == from)
		return;
	to->gc.gc_prev->gc.gc_next = from->gc.gc_next;
	from->gc.gc_next->gc.gc_prev = to->gc.gc_prev;
	to->gc.gc_prev = from->gc.gc_prev;
	to->gc.gc_prev->gc.gc_next = to;
	clear_ring(from);
}

static PyObject *freeze(PyObject *self, PyObject *none)
{
	int i;

	(void)self;
	(void)none;
	for (i = 0; i < GENERATIONS; i++) {
		join(heads[i], &permanent);
		*count_of(heads[i]) = 0;
	}
	Py_RETURN_NONE;
}

static PyObject *unfreeze(PyObject *self, PyObject *none)
{
	(void)self;
	(void)none;
	join(&permanent, heads[GENERATIONS - 1]);
	Py_RETURN_NONE;
}

static PyObject *get_freeze_count(PyObject *self, PyObject *none)
{
	const PyGC_Head *at;
	Py_ssize_t count = 0;

	(void)self;
	(void)none;
	for (at = permanent.gc.gc_next; at != &permanent; at = at->gc.gc_next)
		count++;
	return PyInt_FromSsize_t(count);
}

static PyMethodDef methods[] = {
	{ "freeze", freeze, METH_NOARGS,
	  "freeze() -> None\n\nMove all objects that the collector tracks to a permanent "
	  "generation, "
	  "which it\nignores from then on. Before a fork, it keeps a collection in a child from "
	  "copying\ntheir memory." },
	{ "unfreeze", unfreeze, METH_NOARGS,
	  "unfreeze() -> None\n\nPut the objects of the permanent generation back into the "
	  "oldest." },
	{ "get_freeze_count", get_freeze_count, METH_NOARGS,
	  "get_freeze_count() -> n\n\nThe number of objects in the permanent generation." },
	{ NULL, NULL, 0, NULL },
};

PyMODINIT_FUNC initgcfreeze(void)
{
	const char *wrong = heads[0] ? NULL : find_generations();

	if (wrong) {
		PyErr_Format(PyExc_ImportError,
			     "gcfreeze: this interpreter's collector is not laid out as known: %s",
			     wrong);
		return;
	}
	if (!permanent.gc.gc_next)
		clear_ring(&permanent);
	Py_InitModule3("gcfreeze", methods,
		       "gc.freeze() of later CPythons for 2.7: a permanent generation.");
}
