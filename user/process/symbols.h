/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* symbols.h - the instruction that wrote, as a symbol of an object file. */
#ifndef CT_PROCESS_SYMBOLS_H
#define CT_PROCESS_SYMBOLS_H

#include "base/names.h"
#include "process/maps.h"

struct ct_symbols;

/** ct_symbols__new - a symboliser that interns what it finds in @writers (scope: object file's
 *  last path part; name: symbol). Object files are read once, by (device, inode), through
 *  /proc/PID/root or /proc/PID/map_files, so other mount namespaces and deleted files work. */
struct ct_symbols *ct_symbols__new(struct ct_names *writers);
void ct_symbols__free(struct ct_symbols *symbols);
/**
 * ct_symbols__writer - the writer id of @ip in the process that @maps was read from.
 * A symbol is named only if @ip lies inside [value, value + size) of it (a size of 0 reaches to
 * the next symbol of the same section); else the name is "object+0xOFFSET" with the object's own
 * virtual address, so a stripped binary never gets a false name; or "object@0xOFFSET" with the
 * offset in the file, where it could not be opened or is no ELF file. In a file without .symtab,
 * own or separate, a symbol of size 0 reaches nowhere: what follows it may be anybody's.
 * Anonymous memory: ("[anon]", "[anonymous code]"). Outside every mapping: ("", "[unmapped]").
 * From 1 << 63 on: ("[kernel]", "[kernel]"). Never fails: at worst id 0. Cached in @maps->writers.
 */
uint32_t ct_symbols__writer(struct ct_symbols *symbols, struct ct_maps *maps, ct_raddr_t ip);
/**
 * ct_symbols__data - the data symbol that holds @addr, for naming static objects ("PyDict_Type").
 * @name is filled with "" if there is none. Return: whether there is one.
 */
bool ct_symbols__data(struct ct_symbols *symbols, struct ct_maps *maps, ct_raddr_t addr, char *name,
		      size_t len);

#endif /* CT_PROCESS_SYMBOLS_H */
