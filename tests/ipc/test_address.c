/* SPDX-License-Identifier: MIT */
#include "ipc/address.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <tine/time.h>

#include "lib/sys.h"
#include "tests/ipc/meet.h"
#include "tests/support/children.h"
#include "tests/support/files.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

static const struct tine__address_wish wish = {.mode = 0600, .backlog = 8};

static int parse(const char *text)
{
    struct tine__address address;

    return tine__address_parse(text, &address);
}

static int listen_at(const char *text, struct tine__address_file *file)
{
    struct tine__address address;
    int rc = tine__address_parse(text, &address);

    return rc < 0 ? rc : tine__address_listen(&address, &wish, file);
}

static int connect_to(const char *text, int64_t timeout_ns)
{
    struct tine__address address;
    int rc = tine__address_parse(text, &address);

    return rc < 0 ? rc : tine__address_connect(&address, tine__deadline_after(timeout_ns));
}

static const char *unix_path(const char *path)
{
    static char text[4200];

    snprintf(text, sizeof text, "unix:%s", path);
    return text;
}

TEST(addresses_are_understood_or_refused)
{
    static const char *const good[] = {
        "unix:/tmp/x",       "unix:x",        "unix:./@x",       "unix:@x",
        "tcp://127.0.0.1:1", "tcp://[::1]:0", "tcp://[::]:9999", "tcp://localhost:65535",
    };
    static const char *const bad[] = {
        "",
        "unix",
        "unix:",
        "unix:@",
        "unix:/tmp/",
        "/tmp/x",
        "tcp:127.0.0.1:1",
        "tcp://",
        "tcp://:1",
        "tcp://127.0.0.1",
        "tcp://1:",
        "tcp://127.0.0.1:65536",
        "tcp://127.0.0.1:-1",
        "tcp://127.0.0.1:1x",
        "tcp://::1:1",
        "tcp://[::1]",
        "tcp://[::1:1",
        "tcp://[]:1",
        "tcp://127.0.0.1:000001",
    };

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        ck_assert_msg(parse(good[i]) == 0, "%s is refused", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(parse(bad[i]) == -EINVAL, "%s is understood", bad[i]);
    ck_assert_rc(parse(NULL), -EINVAL);
}

TEST(a_socket_file_comes_and_goes)
{
    struct tine__address_file file;
    struct files files;
    struct stat status;
    int fd, connected;

    files_begin(&files);
    fd = listen_at(unix_path(files_path(&files, "s")), &file);
    ck_assert_ok(fd);
    ck_assert_int_eq(stat(files_path(&files, "s"), &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, 0600);
    connected = connect_to(unix_path(files_path(&files, "s")), TINE_FOREVER);
    ck_assert_ok(connected);
    close(connected);
    tine__address_file_remove(&file);
    ck_assert_int_eq(stat(files_path(&files, "s"), &status), -1);
    close(fd);
    files_end(&files);
}

TEST(who_listens_is_not_replaced)
{
    struct tine__address_file file, second;
    struct files files;
    int fd;

    files_begin(&files);
    fd = listen_at(unix_path(files_path(&files, "s")), &file);
    ck_assert_ok(fd);
    ck_assert_rc(listen_at(unix_path(files_path(&files, "s")), &second), -EADDRINUSE);
    ck_assert_int_eq(second.directory, -1);
    tine__address_file_remove(&file);
    close(fd);
    files_end(&files);
}

static void listen_and_wait(void *context)
{
    struct tine__address_file file;

    ck_assert_ok(listen_at(unix_path(context), &file));
    raise(SIGKILL);
}

TEST(a_killed_listener_is_replaced)
{
    struct tine__address_file file;
    struct files files;
    struct child child;
    char path[300];
    int fd;

    files_begin(&files);
    snprintf(path, sizeof path, "%s", files_path(&files, "s"));
    child = child_start(listen_and_wait, path);
    child_wait(&child);
    ck_assert_rc(connect_to(unix_path(path), TINE_FOREVER), -ECONNREFUSED);
    fd = listen_at(unix_path(path), &file);
    ck_assert_ok(fd);
    tine__address_file_remove(&file);
    close(fd);
    files_end(&files);
}

TEST(a_file_of_another_kind_stays)
{
    struct tine__address_file file;
    struct files files;
    struct stat status;

    files_begin(&files);
    files_write(&files, "s", "precious");
    ck_assert_rc(listen_at(unix_path(files_path(&files, "s")), &file), -EADDRINUSE);
    ck_assert_int_eq(stat(files_path(&files, "s"), &status), 0);
    ck_assert_int_eq(status.st_size, 8);
    files_end(&files);
}

TEST(a_successor_under_the_same_name_stays)
{
    struct tine__address_file old, new;
    struct files files;
    int first, second;

    files_begin(&files);
    first = listen_at(unix_path(files_path(&files, "s")), &old);
    ck_assert_ok(first);
    ck_assert_int_eq(unlink(files_path(&files, "s")), 0);
    second = listen_at(unix_path(files_path(&files, "s")), &new);
    ck_assert_ok(second);
    tine__address_file_remove(&old);
    ck_assert_int_eq(access(files_path(&files, "s"), F_OK), 0);
    tine__address_file_remove(&new);
    ck_assert_int_eq(access(files_path(&files, "s"), F_OK), -1);
    close(first);
    close(second);
    files_end(&files);
}

TEST(a_locked_directory_costs_only_the_replacement)
{
    struct tine__address_file file, second;
    struct files files;
    int fd, directory;

    files_begin(&files);
    directory = open(files.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_eq(flock(directory, LOCK_EX), 0);
    fd = listen_at(unix_path(files_path(&files, "s")), &file);
    ck_assert_ok(fd);
    close(fd);
    ck_assert_rc(listen_at(unix_path(files_path(&files, "s")), &second), -EADDRINUSE);
    close(directory);
    fd = listen_at(unix_path(files_path(&files, "s")), &second);
    ck_assert_ok(fd);
    tine__address_file_remove(&second);
    tine__address_file_remove(&file);
    close(fd);
    files_end(&files);
}

TEST(paths_may_be_longer_than_an_address)
{
    struct tine__address_file file;
    char name[300], deep[310];
    struct files files;
    int fd, connected;

    files_begin(&files);
    memset(name, 'd', 150);
    strcpy(name + 150, "/s");
    snprintf(deep, sizeof deep, "%.150s/x", name);
    files_write(&files, deep, "");
    ck_assert_uint_gt(strlen(files_path(&files, name)), sizeof(struct sockaddr_un));
    fd = listen_at(unix_path(files_path(&files, name)), &file);
    ck_assert_ok(fd);
    connected = connect_to(unix_path(files_path(&files, name)), TINE_FOREVER);
    ck_assert_ok(connected);
    close(connected);
    tine__address_file_remove(&file);
    ck_assert_int_eq(access(files_path(&files, name), F_OK), -1);
    close(fd);
    memset(name, 'n', 120);
    name[120] = '\0';
    ck_assert_rc(listen_at(unix_path(files_path(&files, name)), &file), -ENAMETOOLONG);
    files_end(&files);
}

TEST(where_nobody_is_nobody_answers)
{
    struct files files;

    files_begin(&files);
    ck_assert_rc(connect_to(unix_path(files_path(&files, "s")), TINE_FOREVER), -ENOENT);
    ck_assert_rc(connect_to(unix_path(files_path(&files, "no/s")), TINE_FOREVER), -ENOENT);
    ck_assert_rc(connect_to(own_address(), TINE_FOREVER), -ECONNREFUSED);
    files_end(&files);
}

TEST(a_free_port_has_a_number, .loop_end = 2)
{
    const char *any = loop_index == 0 ? "tcp://127.0.0.1:0" : "tcp://[::1]:0";
    char text[TINE__ADDRESS_TEXT];
    struct tine__address_file file;
    int fd = listen_at(any, &file), connected, accepted;

    if (fd == -EADDRNOTAVAIL || fd == -EAFNOSUPPORT)
        SKIP("no IPv6 here");
    ck_assert_ok(fd);
    ck_assert_int_eq(file.directory, -1);
    tine__address_text(fd, false, text);
    ck_assert_str_ne(text, any);
    ck_assert_int_eq(strncmp(text, any, strlen(any) - 1), 0);
    connected = connect_to(text, TINE_FOREVER);
    ck_assert_ok(connected);
    ck_assert_int_eq(tine__sys_poll_in(fd, TINE_FOREVER), 1);
    accepted = tine__sys_accept(fd);
    ck_assert_ok(accepted);
    ck_assert(tine__address_is_local(accepted));
    tine__address_text(accepted, true, text);
    ck_assert_int_eq(strncmp(text, any, strlen(any) - 1), 0);
    tine__address_tune(accepted);
    close(accepted);
    close(connected);
    close(fd);
}

/* A listener that accepts nobody lets the kernel's queue run full. */
TEST(a_dial_keeps_its_deadline, .loop_end = 2)
{
    const char *any = loop_index == 0 ? own_address() : "tcp://127.0.0.1:0";
    char text[TINE__ADDRESS_TEXT];
    struct tine__address_file file;
    struct tine__address address;
    int fds[64], count = 0, fd;

    ck_assert_rc(tine__address_parse(any, &address), 0);
    fd = tine__address_listen(&address, &(struct tine__address_wish){.backlog = 1}, &file);
    ck_assert_ok(fd);
    tine__address_text(fd, false, text);
    while (count < 64 && (fds[count] = connect_to(loop_index == 0 ? any : text, TINE_MS(20))) >= 0)
        count++;
    ck_assert_int_lt(count, 64);
    ck_assert_rc(fds[count], -ETIMEDOUT);
    while (count > 0)
        close(fds[--count]);
    close(fd);
}

TEST(the_kernel_tells_the_user)
{
    int fds[2];
    uid_t user;

    ck_assert_rc(tine__sys_socketpair(fds), 0);
    ck_assert_rc(tine__address_peer_user(fds[0], &user), 0);
    ck_assert_uint_eq(user, geteuid());
    close(fds[0]);
    close(fds[1]);
    fds[0] = tine__sys_socket(AF_INET, SOCK_STREAM);
    ck_assert_rc(tine__address_peer_user(fds[0], &user), -ENOTSUP);
    close(fds[0]);
}

SUITE("ipc/address")
