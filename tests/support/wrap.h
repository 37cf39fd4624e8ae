/* SPDX-License-Identifier: MIT */
/*
 * A function that fails where a test says so, in a program that is linked so that its calls come
 * here first (ld --wrap=tine__sys_dup):
 *
 *     WRAP(fails(), int, tine__sys_dup, -EMFILE, (int fd), (fd))
 *
 * `failing` may set errno: (errno = EAGAIN, -1). The function itself is __real_tine__sys_dup()
 * then.
 */
#ifndef TINE_TESTS_SUPPORT_WRAP_H
#define TINE_TESTS_SUPPORT_WRAP_H

#define WRAP(fails, type, name, failing, parameters, arguments)                                    \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return (fails) ? (failing) : __real_##name arguments;                                      \
    }

#endif
