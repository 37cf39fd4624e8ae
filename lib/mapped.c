/* SPDX-License-Identifier: MIT */
/*
 * Loaded objects by /proc/self/maps, for processes that must not ask the loader (lib/objects.c).
 *
 * The loader maps the beginning of a file, and parts of it executable, one behind the other; nobody
 * else does. The beginning has the program headers, from which all else follows as it does there.
 */
#include "lib/objects.h"

#include "lib/sys.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PARTS_MAX 32

struct mapping {
    uintptr_t begin, end;
    uint64_t offset, inode; /* inode 0: no file */
    unsigned major, minor;
    bool readable, executable;
    char path[512]; /* cut: then the file behind it cannot be looked at */
};

/* What is too long is skipped to the end of its line. */
static bool read_line(FILE *maps, char *line, int room)
{
    char rest[64];

    if (fgets(line, room, maps) == NULL)
        return false;
    for (const char *end = line; strchr(end, '\n') == NULL; end = rest)
        if (fgets(rest, sizeof rest, maps) == NULL)
            break;
    line[strcspn(line, "\n")] = '\0';
    return true;
}

static bool read_mapping(FILE *maps, struct mapping *mapping)
{
    static const char form[] = "%" SCNxPTR "-%" SCNxPTR " %4s %" SCNx64 " %x:%x %" SCNu64 " %n";
    char line[sizeof mapping->path + 128], access[5] = "----";
    int path = 0;

    if (!read_line(maps, line, sizeof line))
        return false;
    if (sscanf(line, form, &mapping->begin, &mapping->end, access, &mapping->offset,
               &mapping->major, &mapping->minor, &mapping->inode, &path) < 7)
        mapping->inode = 0;
    mapping->readable = access[0] == 'r';
    mapping->executable = access[2] == 'x';
    snprintf(mapping->path, sizeof mapping->path, "%.*s", (int)sizeof mapping->path - 1,
             line + path);
    return true;
}

static bool is_same_file(const struct mapping *one, const struct mapping *other)
{
    return one->inode != 0 && one->inode == other->inode && one->major == other->major &&
           one->minor == other->minor;
}

/* Copies, for memory that is mapped may not be readable all the same. */
struct headers {
    ElfW(Ehdr) file;
    ElfW(Phdr) parts[PARTS_MAX];
};

/* Is this the beginning of an object file, with its program headers? */
static bool read_headers(const struct mapping *first, struct headers *headers)
{
    ElfW(Ehdr) *file = &headers->file;
    size_t size = first->end - first->begin, parts;

    if (size < sizeof *file || tine__sys_read_own(first->begin, file, sizeof *file) < 0 ||
        memcmp(file->e_ident, ELFMAG, SELFMAG) != 0 ||
        file->e_ident[EI_CLASS] != (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32) ||
        file->e_phentsize != sizeof(ElfW(Phdr)) || file->e_phnum > PARTS_MAX)
        return false;
    parts = file->e_phnum * sizeof(ElfW(Phdr));
    return file->e_phoff <= size && parts <= size - file->e_phoff &&
           tine__sys_read_own(first->begin + file->e_phoff, headers->parts, parts) == 0;
}

static bool find_base(const struct mapping *first, struct dl_phdr_info *info)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_offset < page) {
            info->dlpi_addr = first->begin - (info->dlpi_phdr[i].p_vaddr & ~(page - 1));
            return true;
        }
    return false;
}

int tine__mapped_objects(int (*look)(struct dl_phdr_info *info, size_t size, void *data),
                         void *data)
{
    struct mapping first = {.inode = 0}, mapping;
    struct headers headers;
    struct dl_phdr_info info = {.dlpi_phdr = headers.parts};
    FILE *maps = fopen("/proc/self/maps", "re");
    int rc = 0;

    if (maps == NULL)
        return errno == ENOMEM ? -ENOMEM : -ENOSYS;
    while (rc == 0 && read_mapping(maps, &mapping)) {
        if (mapping.inode != 0 && mapping.offset == 0 && mapping.readable)
            first = mapping;
        if (!mapping.executable || !is_same_file(&mapping, &first))
            continue;
        first.inode = 0; /* once each */
        if (!read_headers(&first, &headers))
            continue;
        info.dlpi_name = first.path;
        info.dlpi_phnum = headers.file.e_phnum;
        if (find_base(&first, &info))
            rc = look(&info, sizeof info, data);
    }
    fclose(maps);
    return rc;
}
