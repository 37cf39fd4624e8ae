/* SPDX-License-Identifier: MIT */
/*
 * Loaded objects: a table of their executable segments, made anew when the loader has changed its
 * list.
 *
 * The loader's lock decides how. Where fork copies it while another thread has it, it is never free
 * again in the child (glibc 2.36), and whoever asks the loader there never returns. So only a
 * process that is not known to be a forked one asks: whether something has changed, each time. A
 * forked one takes the table that it has inherited, looks in the object's own memory whether it is
 * still that one, and when that does not answer the question, asks the kernel (lib/mapped.c), which
 * takes much longer.
 *
 * A table does not change once it is published; another takes its place. Threads that use one are
 * counted in `inside`, and those replaced are freed when nobody is. There is no lock here that a
 * fork could leave taken: the count is tagged with the process, and begins at 0 in each.
 */
#include "lib/objects.h"

#include "lib/fork.h"
#include "lib/futex_lock.h"
#include "lib/sys.h"

#include <elf.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>

#define FIRST_ROOM  4
#define NOTES_MAX   1024
#define INSIDE_BITS 16

struct table {
    struct table *next;         /* of those replaced */
    unsigned long long changes; /* of the loader's list so far; 0: not made by asking it */
    size_t count, room;
    struct tine__object at[];
};

static struct table *_Atomic current;
static struct table *_Atomic replaced;
static _Atomic uint64_t inside; /* generation of the process << INSIDE_BITS | threads */

/* ---- who uses a table ------------------------------------------------------------------------ */

static void enter(void)
{
    uint64_t mine = tine__fork_generation_fast() << INSIDE_BITS;
    uint64_t seen = atomic_load_explicit(&inside, memory_order_relaxed), wanted;

    do {
        wanted = (seen >> INSIDE_BITS == mine >> INSIDE_BITS ? seen : mine) + 1;
        /* seq_cst: counted before `current` is read; see leave */
    } while (!atomic_compare_exchange_weak_explicit(&inside, &seen, wanted, memory_order_seq_cst,
                                                    memory_order_relaxed));
}

static void put_back(struct table *first)
{
    struct table *last = first;

    while (last->next != NULL)
        last = last->next;
    last->next = atomic_load_explicit(&replaced, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&replaced, &last->next, first,
                                                  memory_order_seq_cst, memory_order_relaxed)) {
    }
}

static void leave(void)
{
    struct table *table;

    /* release: what was read is read before a table is freed by who sees 0 below */
    atomic_fetch_sub_explicit(&inside, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&replaced, memory_order_relaxed) == NULL)
        return;
    table = atomic_exchange_explicit(&replaced, NULL, memory_order_seq_cst);
    /* seq_cst: these were replaced before, so who comes in later does not find them any more */
    if (table != NULL &&
        (atomic_load_explicit(&inside, memory_order_seq_cst) & ((1 << INSIDE_BITS) - 1)) != 0) {
        put_back(table);
        return;
    }
    while (table != NULL) {
        struct table *next = table->next;

        free(table);
        table = next;
    }
}

/* Between enter and leave. One that is older than what is there already is not needed. */
static void publish(struct table *made)
{
    struct table *old = atomic_load_explicit(&current, memory_order_acquire);

    do {
        if (old != NULL && made->changes != 0 && old->changes >= made->changes) {
            free(made);
            return;
        }
        /* release: pairs with the acquire in search; the table is whole */
    } while (!atomic_compare_exchange_weak_explicit(&current, &old, made, memory_order_seq_cst,
                                                    memory_order_acquire));
    if (old != NULL) {
        old->next = NULL;
        put_back(old);
    }
}

/* ---- what an object is ----------------------------------------------------------------------- */

/* Memory that the loader's list or the kernel's says is there; the tools that watch programs map
   more than they let them read. */
static bool read_part(uint64_t address, void *into, size_t size)
{
    int rc = tine__sys_read_own(address, into, size);

    if (rc == 0 || rc == -EFAULT)
        return rc == 0;
    memcpy(into, (const void *)(uintptr_t)address, size); /* the call is forbidden here */
    return true;
}

static void add_proof(struct tine__object *object, uint64_t at, const void *bytes, size_t size)
{
    object->proof_at = at;
    object->proof_size = (uint32_t)size;
    memcpy(object->proof, bytes, size);
}

/* The id in a note, if that is what it holds. `at`: of the content. */
static bool read_note(const ElfW(Nhdr) * note, const uint8_t *name, const uint8_t *content,
                      uint64_t at, struct tine__object *object)
{
    if (note->n_type != NT_GNU_BUILD_ID || note->n_namesz != 4 || memcmp(name, "GNU", 4) != 0 ||
        note->n_descsz == 0 || note->n_descsz > sizeof object->id.bytes)
        return false;
    object->id.kind = TINE__OBJECT_BUILD_ID;
    object->id.size = (uint8_t)note->n_descsz;
    memcpy(object->id.bytes, content, note->n_descsz);
    add_proof(object, at, content, note->n_descsz);
    return true;
}

static void read_notes(uint64_t address, size_t size, struct tine__object *object)
{
    uint8_t notes[NOTES_MAX];
    size_t at = 0;

    if (size > sizeof notes)
        size = sizeof notes;
    if (!read_part(address, notes, size))
        return;
    while (size - at >= sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr) note;
        size_t left = size - at - sizeof note, name, content;

        memcpy(&note, notes + at, sizeof note);
        name = at + sizeof note;
        if (note.n_namesz > left || note.n_descsz > left)
            return;
        content = name + ((note.n_namesz + 3U) & ~3U);
        at = content + ((note.n_descsz + 3U) & ~3U);
        if (at > size || read_note(&note, notes + name, notes + content, address + content, object))
            return;
    }
}

static bool covers(const struct dl_phdr_info *info, uintptr_t address)
{
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD &&
            address - info->dlpi_addr - info->dlpi_phdr[i].p_vaddr < info->dlpi_phdr[i].p_memsz)
            return true;
    return false;
}

static bool is_program(const struct dl_phdr_info *info)
{
    return covers(info, getauxval(AT_PHDR));
}

static void identify_file(const struct dl_phdr_info *info, struct tine__object *object)
{
    /* also where its name has gone: the kernel's list says "(deleted)" then */
    const char *path = is_program(info) ? "/proc/self/exe" : info->dlpi_name;
    uint64_t words[4];
    struct stat file;

    if (stat(path, &file) < 0)
        return;
    words[0] = file.st_dev;
    words[1] = file.st_ino;
    words[2] = (uint64_t)file.st_size;
    words[3] = (uint64_t)file.st_mtim.tv_sec * 1000000000 + (uint64_t)file.st_mtim.tv_nsec;
    object->id.kind = TINE__OBJECT_FILE;
    object->id.size = sizeof words;
    memcpy(object->id.bytes, words, sizeof words);
}

/* From the file's header: entry and the places of its tables. */
static void add_header_proof(const struct dl_phdr_info *info, struct tine__object *object)
{
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        uint64_t at = object->base + part->p_vaddr + offsetof(ElfW(Ehdr), e_entry);
        uint8_t bytes[24];

        if (part->p_type != PT_LOAD || part->p_offset != 0)
            continue;
        if (read_part(at, bytes, sizeof bytes))
            add_proof(object, at, bytes, sizeof bytes);
        return;
    }
}

static void identify(const struct dl_phdr_info *info, struct tine__object *object)
{
    memset(object, 0, sizeof *object);
    object->base = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum && object->id.kind == TINE__OBJECT_NAMELESS; i++)
        if (info->dlpi_phdr[i].p_type == PT_NOTE)
            read_notes(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr, info->dlpi_phdr[i].p_memsz,
                       object);
    if (object->id.kind == TINE__OBJECT_NAMELESS) {
        identify_file(info, object);
        add_header_proof(info, object);
    }
    /* nobody unloads the program, nor what this code lies in */
    if (is_program(info) || covers(info, (uintptr_t)identify))
        object->proof_size = 0;
}

/* ---- making a table -------------------------------------------------------------------------- */

struct making {
    struct table *table; /* NULL: not begun */
    unsigned long long known;
    bool from_loader;
};

static int begin(struct making *making, unsigned long long changes)
{
    making->table = malloc(sizeof *making->table + FIRST_ROOM * sizeof making->table->at[0]);
    if (making->table == NULL)
        return -ENOMEM;
    making->table->changes = making->from_loader ? changes : 0;
    making->table->count = 0;
    making->table->room = FIRST_ROOM;
    return 0;
}

static int add(struct making *making, const struct tine__object *object)
{
    struct table *table = making->table;

    if (table->count == table->room) {
        table = realloc(table, sizeof *table + 2 * table->room * sizeof table->at[0]);
        if (table == NULL)
            return -ENOMEM;
        table->room *= 2;
        making->table = table;
    }
    table->at[table->count++] = *object;
    return 0;
}

/* Called for each object; a value other than 0 is the end. 1: the table that there is will do. */
static int look_at_object(struct dl_phdr_info *info, size_t size, void *data)
{
    struct making *making = data;
    unsigned long long changes = info->dlpi_adds + info->dlpi_subs;
    struct tine__object object;
    int rc = 0;

    (void)size;
    if (making->table == NULL && making->from_loader && making->known == changes)
        return 1;
    if (making->table == NULL)
        rc = begin(making, changes);
    if (rc == 0)
        identify(info, &object);
    for (int i = 0; i < info->dlpi_phnum && rc == 0; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];

        if (part->p_type != PT_LOAD || (part->p_flags & PF_X) == 0)
            continue;
        object.begin = part->p_vaddr;
        object.end = part->p_vaddr + part->p_memsz;
        rc = add(making, &object);
    }
    return rc;
}

/* Between enter and leave. 0, -ENOMEM, or -ENOSYS: without /proc the table stays as it is. */
static int renew(bool ask_loader)
{
    struct table *known = atomic_load_explicit(&current, memory_order_acquire);
    struct making making = {.from_loader = ask_loader, .known = known != NULL ? known->changes : 0};
    int rc = ask_loader ? dl_iterate_phdr(look_at_object, &making)
                        : tine__mapped_objects(look_at_object, &making);

    if (rc == 0 && making.table != NULL)
        publish(making.table);
    else
        free(making.table);
    return rc < 0 ? rc : 0;
}

/* ---- questions ------------------------------------------------------------------------------- */

struct question {
    const struct tine__object_id *id; /* NULL: whose is the address? */
    uint64_t base;
    uint64_t address; /* or the offset */
};

/* 0 no, 1 yes, 2: and nothing fits better. */
static int fits(const struct question *question, const struct tine__object *object)
{
    const struct tine__object_id *id = question->id;
    uint64_t offset = question->address - (id == NULL ? object->base : 0);
    bool here = id == NULL || object->base == question->base;

    if (offset < object->begin || offset >= object->end)
        return 0;
    if (id != NULL && (object->id.kind != id->kind || object->id.size != id->size ||
                       memcmp(object->id.bytes, id->bytes, sizeof id->bytes) != 0))
        return 0;
    return here ? 2 : id->kind != TINE__OBJECT_NAMELESS;
}

/* Between enter and leave. */
static bool search(const struct question *question, struct tine__object *found)
{
    const struct table *table = atomic_load_explicit(&current, memory_order_acquire);
    int best = 0;

    for (size_t i = 0; table != NULL && i < table->count && best < 2; i++) {
        int fit = fits(question, &table->at[i]);

        if (fit > best) {
            *found = table->at[i];
            best = fit;
        }
    }
    return best > 0;
}

/* In a process that does not ask the loader: it may have unloaded the object, and loaded
   another. */
static bool is_still_there(const struct tine__object *object)
{
    uint8_t proof[sizeof object->proof] = {0};
    int rc;

    if (object->proof_size == 0)
        return true;
    rc = tine__sys_read_own(object->proof_at, proof, object->proof_size);
    if (rc == -EFAULT)
        return false;
    return rc < 0 || memcmp(proof, object->proof, object->proof_size) == 0;
}

/* Not known to be forked: the first process that asked for its generation has 1. */
static bool may_ask_loader(void)
{
    return tine__fork_generation_fast() <= 1;
}

static int answer(const struct question *question, struct tine__object *found)
{
    bool ask_loader = may_ask_loader();
    int rc;

    if (!ask_loader && search(question, found) && is_still_there(found))
        return 0;
    rc = renew(ask_loader);
    if (rc == -ENOMEM)
        return rc;
    if (search(question, found) && (ask_loader || is_still_there(found)))
        return 0;
    return rc == -ENOSYS ? tine__sys_proc_code(-ENOENT) : -ENOENT;
}

static int ask(const struct question *question, struct tine__object *object)
{
    struct tine__object found;
    int rc;

    if (TINE__ALONE && search(question, &found) && found.proof_size == 0) {
        *object = found; /* nobody unloads it, and nobody is there who could free the table */
        return 0;
    }
    enter();
    rc = answer(question, &found);
    leave();
    if (rc == 0)
        *object = found;
    return rc;
}

int tine__object_at(uint64_t address, struct tine__object *object)
{
    return ask(&(struct question){.address = address}, object);
}

int tine__object_with(const struct tine__object_id *id, uint64_t base, uint64_t offset,
                      struct tine__object *object)
{
    return ask(&(struct question){.id = id, .base = base, .address = offset}, object);
}

void tine__objects_note(void)
{
    enter();
    if (may_ask_loader() || atomic_load_explicit(&current, memory_order_relaxed) == NULL)
        (void)renew(may_ask_loader()); /* who finds no table makes one */
    leave();
}

void tine__objects_learn(void)
{
    enter();
    (void)renew(may_ask_loader());
    leave();
}
