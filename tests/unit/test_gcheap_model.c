/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * test_gcheap_model.c - the collector against a model: random graphs of all kinds of containers,
 * with cycles, weak references, finalisers and resurrection, a million operations in either layout.
 * Each container holds a tracer of its own, an object that notes that it is freed: nothing
 * reachable may be, and after a full collection everything else must be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gcheap/gcheap.h"

#define NODES	   1500
#define EDGES	   4
#define OPERATIONS 1000000
#define CHECK_EACH 4000

enum kind { LIST, TUPLE, DICT, INSTANCE, PHOENIX, KINDS };

struct node {
	struct gcheap_object *op; /* NULL: no such node */
	enum kind kind;
	size_t roots;	     /* references that the test holds */
	size_t edges[EDGES]; /* index + 1 */
	bool reachable, freed, finalised;
	struct gcheap_object *weakref; /* held by the test */
	int calls;
};

static enum gcheap_layout layout;
static struct node nodes[NODES];
static struct gcheap_object *keys[EDGES + 1], *plain_class, *phoenix_class;
static size_t freed_count, finalised_count, risen_count, weak_calls, checks;
static uint64_t random_state = 88172645463325252ull;

static size_t below(size_t limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % limit;
}

/* --- the tracer ------------------------------------------------------------------------------ */

struct tracer {
	struct gcheap_object head;
	size_t node;
};

static void tracer_dealloc(struct gcheap_object *op)
{
	struct node *node = &nodes[((struct tracer *)op)->node];

	assert_false(node->freed);
	assert_int_equal(node->roots, 0);
	node->freed = true;
	freed_count++;
}

static const struct gcheap_type tracer_type = {
	.name = "tracer",
	.basicsize = sizeof(struct tracer),
	.dealloc = tracer_dealloc,
};

static struct gcheap_object *share(struct gcheap_object *op)
{
	gcheap_incref(op);
	return op;
}

/* --- slots of a node, of whatever kind it is: 0 is the tracer, 1 to EDGES the edges ------------
 */

static struct gcheap_object *slot_get(const struct gcheap_object *op, enum kind kind, size_t slot)
{
	if (kind == DICT)
		return gcheap_dict_get(op, keys[slot]);
	if (kind == INSTANCE || kind == PHOENIX)
		return gcheap_get_attribute(op, keys[slot]);
	return gcheap_get(op, slot);
}

static void slot_set(struct gcheap_object *op, enum kind kind, size_t slot,
		     struct gcheap_object *value)
{
	if (kind == DICT)
		assert_true(gcheap_dict_set(op, share(keys[slot]), value));
	else if (kind == INSTANCE || kind == PHOENIX)
		assert_true(gcheap_set_attribute(op, share(keys[slot]), value));
	else
		assert_true(gcheap_set(op, slot, value));
}

static void mark(size_t index)
{
	static size_t stack[NODES * EDGES];
	size_t depth = 0;

	stack[depth++] = index;
	while (depth) {
		struct node *node = &nodes[stack[--depth]];

		if (node->reachable)
			continue;
		node->reachable = true;
		for (size_t i = 0; i < EDGES; i++) {
			if (node->edges[i])
				stack[depth++] = node->edges[i] - 1;
		}
	}
}

static void mark_all(void)
{
	for (size_t i = 0; i < NODES; i++)
		nodes[i].reachable = false;
	for (size_t i = 0; i < NODES; i++) {
		if (nodes[i].op && nodes[i].roots)
			mark(i);
	}
}

/* Called with all of the instance still there; one in three gets a new root. */
static void phoenix_finalise(struct gcheap_object *op)
{
	struct tracer *tracer = (void *)gcheap_get_attribute(op, keys[0]);
	struct node *node = &nodes[tracer->node];

	assert_ptr_equal(node->op, op);
	assert_int_equal(node->roots, 0);
	assert_false(node->finalised);
	assert_false(node->freed);
	if (below(64) == 0) { /* it takes time */
		mark_all();
		assert_false(node->reachable);
	}
	node->finalised = true;
	finalised_count++;
	if (below(3))
		return;
	gcheap_incref(op);
	node->roots = 1;
	risen_count++;
}

static void weak_callback(struct gcheap_object *weakref, struct gcheap_object *arg)
{
	struct node *node = &nodes[gcheap_int_value(arg)];

	assert_ptr_equal(node->weakref, weakref);
	assert_null(gcheap_weakref_get(weakref));
	assert_int_equal(node->roots, 0);
	assert_int_equal(node->calls++, 0);
	if (below(64) == 0) { /* it takes time */
		mark_all();
		assert_false(node->reachable);
	}
	weak_calls++;
}

/* --- operations ------------------------------------------------------------------------------ */

static struct gcheap_object *make_op(enum kind kind)
{
	struct gcheap_object *list;

	switch (kind) {
	case LIST:
		list = gcheap_list_new();
		for (size_t i = 0; i <= EDGES; i++)
			assert_true(gcheap_append(list, NULL));
		return list;
	case TUPLE:
		return gcheap_tuple_new(EDGES + 1);
	case DICT:
		return gcheap_dict_new();
	default:
		return gcheap_instance_new(kind == INSTANCE ? plain_class : phoenix_class);
	}
}

static void make_node(size_t i)
{
	enum kind kind = (enum kind)below(KINDS);
	struct gcheap_object *op = make_op(kind);
	struct tracer *tracer = (void *)gcheap_new(&tracer_type, 0);

	assert_non_null(op);
	assert_non_null(tracer);
	tracer->node = i;
	slot_set(op, kind, 0, &tracer->head);
	nodes[i] = (struct node){ .op = op, .kind = kind, .roots = 1 };
	for (size_t k = 1; k <= EDGES && kind == TUPLE; k++) /* may become atomic */
		slot_set(op, kind, k, share(keys[k]));
}

static void drop_root(size_t i)
{
	nodes[i].roots--;
	gcheap_decref(nodes[i].op);
}

/* A node's edge is to another node, or to a plain key, or nothing. */
static void connect(size_t from, size_t to)
{
	size_t slot = 1 + below(EDGES);

	nodes[from].edges[slot - 1] = to + 1;
	slot_set(nodes[from].op, nodes[from].kind, slot, share(nodes[to].op));
}

static void disconnect(size_t from)
{
	size_t slot = 1 + below(EDGES);

	nodes[from].edges[slot - 1] = 0;
	slot_set(nodes[from].op, nodes[from].kind, slot, below(2) ? NULL : share(keys[slot]));
}

static void take_root(size_t from)
{
	size_t slot = below(EDGES), to = nodes[from].edges[slot];

	if (!to)
		return;
	assert_ptr_equal(slot_get(nodes[from].op, nodes[from].kind, slot + 1), nodes[to - 1].op);
	gcheap_incref(nodes[to - 1].op);
	nodes[to - 1].roots++;
}

static void make_weakref(size_t i)
{
	struct gcheap_object *arg = gcheap_int_new((int64_t)i);
	struct gcheap_object *weakref = NULL;

	if (!nodes[i].weakref)
		weakref = gcheap_weakref_new(nodes[i].op, weak_callback, arg);
	else
		gcheap_decref(arg);
	if (!weakref)
		return;
	assert_true(nodes[i].kind == INSTANCE || nodes[i].kind == PHOENIX);
	nodes[i].weakref = weakref;
	nodes[i].calls = 0;
}

static void rare_operation(void)
{
	switch (below(4)) {
	case 0:
		gcheap_collect_generation((int)below(3));
		break;
	case 1:
		if (below(20) == 0)
			gcheap_freeze();
		break;
	case 2:
		gcheap_unfreeze();
		break;
	default:
		if (below(50) == 0)
			gcheap_collect();
	}
}

static void operate(void)
{
	size_t i = below(NODES), k = below(NODES);
	bool both = nodes[i].op && nodes[i].roots && nodes[k].op && nodes[k].roots;

	if (!nodes[i].op) {
		make_node(i);
		return;
	}
	if (!nodes[i].roots)
		return;
	switch (below(8)) {
	case 0:
	case 1:
	case 2:
		drop_root(i);
		break;
	case 3:
	case 4:
		if (both)
			connect(i, k);
		break;
	case 5:
		disconnect(i);
		break;
	case 6:
		take_root(i);
		break;
	default:
		if (below(4) == 0)
			make_weakref(i);
		else if (below(8) == 0)
			rare_operation();
	}
}

/* --- the check ------------------------------------------------------------------------------- */

static void check_reachable(const struct node *node)
{
	struct gcheap_object *seen;

	assert_false(node->freed);
	for (size_t k = 0; k < EDGES; k++) {
		seen = slot_get(node->op, node->kind, k + 1);
		if (node->edges[k])
			assert_ptr_equal(seen, nodes[node->edges[k] - 1].op);
		else
			assert_true(!seen || seen == keys[k + 1]);
	}
	if (!node->weakref)
		return;
	seen = gcheap_weakref_get(node->weakref);
	/* whoever was unreachable and rose, or was reached by one who did, has lost them */
	assert_ptr_equal(seen, node->calls ? NULL : node->op);
	gcheap_decref(seen);
}

static void forget(struct node *node)
{
	assert_true(node->freed);
	assert_true(node->kind != PHOENIX || node->finalised);
	if (node->weakref) {
		assert_null(gcheap_weakref_get(node->weakref));
		assert_int_equal(node->calls, 1);
		gcheap_decref(node->weakref);
	}
	*node = (struct node){ 0 };
}

static void check(void)
{
	size_t risen;

	gcheap_unfreeze();
	do { /* with one who rises, all that was found with it lives on until the next time */
		risen = risen_count;
		gcheap_collect();
	} while (risen != risen_count);
	gcheap_collect();
	mark_all();
	for (size_t i = 0; i < NODES; i++) {
		if (nodes[i].op && nodes[i].reachable)
			check_reachable(&nodes[i]);
		else if (nodes[i].op)
			forget(&nodes[i]);
	}
	checks++;
}

static size_t blocks(void)
{
	struct gcheap_stats stats;

	gcheap_get_stats(&stats);
	return stats.blocks;
}

static void test_model(void **state)
{
	const struct gcheap_options options = { .layout = layout };
	size_t risen;

	(void)state;
	assert_true(gcheap_open(&options));
	freed_count = finalised_count = risen_count = weak_calls = checks = 0;
	for (size_t i = 0; i <= EDGES; i++)
		keys[i] = gcheap_int_new((int64_t)i);
	plain_class = gcheap_class_new(gcheap_string_new("Plain", 5), NULL);
	phoenix_class = gcheap_class_new(gcheap_string_new("Phoenix", 7), phoenix_finalise);
	for (size_t i = 1; i <= OPERATIONS; i++) {
		operate();
		if (i % CHECK_EACH == 0)
			check();
	}
	do { /* what is dropped may rise */
		risen = risen_count;
		for (size_t i = 0; i < NODES; i++) {
			while (nodes[i].op && nodes[i].roots)
				drop_root(i);
		}
		check();
	} while (risen != risen_count);
	gcheap_decref(plain_class);
	gcheap_decref(phoenix_class);
	for (size_t i = 0; i <= EDGES; i++)
		gcheap_decref(keys[i]);
	gcheap_collect();
	assert_int_equal(blocks(), 0);
	assert_null(gcheap_garbage());
	print_message("freed %zu, finalised %zu, risen %zu, weak callbacks %zu, checks %zu\n",
		      freed_count, finalised_count, risen_count, weak_calls, checks);
	assert_true(freed_count > 20000 && finalised_count > 5000 && risen_count > 1000 &&
		    weak_calls > 500);
	gcheap_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_model) };
	int failed;

	layout = GCHEAP_INLINE;
	failed = cmocka_run_group_tests_name("inline", tests, NULL, NULL);
	layout = GCHEAP_SPLIT;
	return failed + cmocka_run_group_tests_name("split", tests, NULL, NULL);
}
