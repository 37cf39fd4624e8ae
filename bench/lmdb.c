/* SPDX-License-Identifier: MIT */
/*
 * The peer LMDB, at its best for reading: all in memory, no locks (nobody writes), and one read
 * transaction for a whole repetition. The database is a memfd, so nothing can be left behind.
 */
#include "bench/dict.h"

#ifdef HAVE_LMDB

#include <errno.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAP_BYTES ((size_t)1 << 30)

struct reader {
    MDB_env *env;
    const struct bench_dict_keys *keys;
};

/* LMDB's own codes are outside of errno's range. */
static int code(int rc)
{
    return rc > 0 ? -rc : rc == 0 ? 0 : -EIO;
}

static int open_env(MDB_env **env, int fd, unsigned flags)
{
    char path[32];
    int rc = mdb_env_create(env);

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (rc == 0)
        rc = mdb_env_set_mapsize(*env, MAP_BYTES);
    if (rc == 0)
        rc = mdb_env_open(*env, path, MDB_NOSUBDIR | MDB_NOLOCK | flags, 0600);
    return code(rc);
}

static int put_all(MDB_txn *txn, MDB_dbi dbi, size_t n)
{
    char name[BENCH_DICT_NAME];
    int rc = 0;

    for (uint64_t i = 0; i < n && rc == 0; i++) {
        MDB_val key = {0, name}, value = {sizeof i, &i};

        bench_dict_name(name, i);
        key.mv_size = strlen(name);
        rc = mdb_put(txn, dbi, &key, &value, 0);
    }
    return rc;
}

static int fill(int fd, size_t n)
{
    MDB_env *env = NULL;
    MDB_txn *txn;
    MDB_dbi dbi;
    int rc = open_env(&env, fd, MDB_NOSYNC);

    if (rc == 0)
        rc = code(mdb_txn_begin(env, NULL, 0, &txn));
    if (rc == 0) {
        rc = mdb_dbi_open(txn, NULL, 0, &dbi);
        if (rc == 0)
            rc = put_all(txn, dbi, n);
        if (rc == 0)
            rc = mdb_txn_commit(txn);
        rc = code(rc);
    }
    if (env)
        mdb_env_close(env);
    return rc;
}

static int attach(void **reader, void *store, const struct bench_dict_keys *keys)
{
    struct reader *made = malloc(sizeof *made);

    if (!made)
        return -ENOMEM;
    made->keys = keys;
    *reader = made;
    return open_env(&made->env, *(int *)store, MDB_RDONLY);
}

static int get_each(MDB_txn *txn, MDB_dbi dbi, const struct bench_dict_keys *keys)
{
    for (size_t i = 0; i < keys->n; i++) {
        MDB_val key = {strlen(keys->names[i]), keys->names[i]}, value;
        uint64_t number;

        if (mdb_get(txn, dbi, &key, &value) != 0 || value.mv_size != sizeof number)
            return BENCH_WRONG;
        memcpy(&number, value.mv_data, sizeof number);
        if (number != keys->numbers[i])
            return BENCH_WRONG;
    }
    return 0;
}

static int get_all(void *arg)
{
    const struct reader *reader = arg;
    MDB_txn *txn;
    MDB_dbi dbi;
    int rc = code(mdb_txn_begin(reader->env, NULL, MDB_RDONLY, &txn));

    if (rc < 0)
        return rc;
    rc = code(mdb_dbi_open(txn, NULL, 0, &dbi));
    if (rc == 0)
        rc = get_each(txn, dbi, reader->keys);
    mdb_txn_abort(txn);
    return rc;
}

static const struct bench_dict_side lmdb_side = {attach, get_all};

int bench_lmdb_get(const struct bench_pass *pass, double *value)
{
    int fd = memfd_create("lmdb", MFD_CLOEXEC);
    int rc = fd < 0 ? -errno : fill(fd, pass->n);

    if (rc == 0)
        rc = bench_dict_rate(pass, &lmdb_side, &fd, value);
    close(fd);
    return rc;
}

#else

int bench_lmdb_get(const struct bench_pass *pass, double *value)
{
    (void)pass;
    (void)value;
    return BENCH_MISSING;
}

#endif
