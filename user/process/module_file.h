/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* module_file.h - finds and opens the file behind a mapping, and its separate debug file. */
#ifndef CT_PROCESS_MODULE_FILE_H
#define CT_PROCESS_MODULE_FILE_H

#include "process/elf_file.h"
#include "process/maps.h"

/**
 * ct_module_file__open - the very file that @mapping maps, to read: by its path as the process
 * sees it, by our own if the process is gone, or by map_files if there is no such path any more
 * (needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE). A file that only has the same path is never
 * taken. Return: a descriptor, or -1.
 */
int ct_module_file__open(const struct ct_maps *maps, const struct ct_mapping *mapping);
/**
 * ct_module_file__add_debug - look for the separate debug file of @elf, the file behind @mapping
 * (by build id, then by debug link with its checksum; under the process's root, then ours), and
 * merge its symbols. Nothing happens if there is none.
 */
void ct_module_file__add_debug(const struct ct_maps *maps, const struct ct_mapping *mapping,
			       struct ct_elf *elf);

#endif /* CT_PROCESS_MODULE_FILE_H */
