/* SPDX-License-Identifier: MIT */
#include "tests/support/python.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/suite.h"

/* The system's own first: that is the one whose numpy comes with the system's packages. */
static const char *const candidates[] = {"/usr/bin/python3", "python3"};
#define CANDIDATES (sizeof candidates / sizeof candidates[0])

/* Each line is a statement ("= EXPRESSION" asks), and gets one line back. */
static const char peer[] =
    "import sys\n"
    "from multiprocessing import resource_tracker\n"
    "from multiprocessing.shared_memory import SharedMemory, ShareableList\n"
    "if sys.argv[1:]:\n"
    "    globals()[sys.argv[1]] = __import__(sys.argv[1])\n"
    "resource_tracker.register = resource_tracker.unregister = lambda *_: None\n"
    "print('ready', flush=True)\n"
    "for line in sys.stdin:\n"
    "    try:\n"
    "        if line.startswith('='):\n"
    "            answer = str(eval(line[1:].strip()))\n"
    "        else:\n"
    "            exec(line)\n"
    "            answer = ''\n"
    "    except Exception as error:\n"
    "        answer = '!' + repr(error)\n"
    "    print(answer.replace('\\n', ' '), flush=True)\n";

static bool has_module(const char *candidate, const char *module)
{
    char program[64];
    pid_t pid;
    int status;

    snprintf(program, sizeof program, "import %s", module);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

        dup2(null, STDERR_FILENO);
        execlp(candidate, candidate, "-c", program, NULL);
        _exit(errno == ENOENT ? 127 : 126);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void python_exec(const char *module, char *const arguments[])
{
    for (size_t i = 0; i < CANDIDATES; i++)
        if (module == NULL || has_module(candidates[i], module))
            execvp(candidates[i], arguments);
}

struct ends {
    int in, out;
    const char *module;
    const char *path; /* NULL: any that has the module */
};

static void become_python(void *context)
{
    const struct ends *ends = context;
    char program[sizeof peer], module[64];
    char name[] = "python3", option[] = "-c";
    char *arguments[] = {name, option, program, ends->module == NULL ? NULL : module, NULL};

    memcpy(program, peer, sizeof peer);
    snprintf(module, sizeof module, "%s", ends->module == NULL ? "" : ends->module);
    dup2(ends->in, STDIN_FILENO);
    dup2(ends->out, STDOUT_FILENO);
    if (ends->path != NULL)
        execvp(ends->path, arguments);
    else
        python_exec(ends->module, arguments);
    _exit(127);
}

static bool is_anywhere(void)
{
    for (size_t i = 0; i < CANDIDATES; i++)
        if (has_module(candidates[i], "sys"))
            return true;
    return false;
}

static bool read_answer(struct python *python)
{
    ssize_t length = getline(&python->answer, &python->room, python->in);

    if (length <= 0)
        return false;
    python->answer[length - 1] = '\0';
    return true;
}

static void start(struct python *python, const char *module, const char *path)
{
    int to[2], from[2];

    *python = (struct python){.answer = NULL};
    ck_assert_int_eq(pipe2(to, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(from, O_CLOEXEC), 0);
    python->child = child_start(become_python, &(struct ends){to[0], from[1], module, path});
    close(to[0]);
    close(from[1]);
    python->out = fdopen(to[1], "w");
    python->in = fdopen(from[0], "r");
    ck_assert(python->out != NULL && python->in != NULL);
    ck_assert_msg(read_answer(python), "python3 has no module %s: ./bootstrap check installs it",
                  module == NULL ? "multiprocessing" : module);
}

bool python_start(struct python *python, const char *module)
{
    if (!is_anywhere())
        return false;
    start(python, module, NULL);
    return true;
}

static void start_at(struct python *python, const char *path)
{
    start(python, NULL, path);
}

void python_end(struct python *python)
{
    fclose(python->out);
    child_join(&python->child);
    fclose(python->in);
    free(python->answer);
}

__attribute__((format(printf, 2, 0))) static void begin(struct python *python, const char *format,
                                                        va_list arguments)
{
    vfprintf(python->out, format, arguments);
    fputc('\n', python->out);
    ck_assert_int_eq(fflush(python->out), 0);
}

__attribute__((format(printf, 2, 0))) static void say(struct python *python, const char *format,
                                                      va_list arguments)
{
    begin(python, format, arguments);
    ck_assert_msg(read_answer(python), "python3 has left");
}

void python_begin(struct python *python, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    begin(python, format, arguments);
    va_end(arguments);
}

const char *python_finish(struct python *python)
{
    ck_assert_msg(read_answer(python), "python3 has left");
    return python->answer;
}

void python_do(struct python *python, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    say(python, format, arguments);
    va_end(arguments);
    ck_assert_msg(python->answer[0] == '\0', "%s: %s", format, python->answer);
}

const char *python_ask(struct python *python, const char *format, ...)
{
    va_list arguments;

    fputs("= ", python->out);
    va_start(arguments, format);
    say(python, format, arguments);
    va_end(arguments);
    return python->answer;
}

/* ---- versions -------------------------------------------------------------------------------- */

static bool is_version(const char *path, int minor)
{
    char program[80];
    pid_t pid;
    int status;

    snprintf(program, sizeof program, "import sys; sys.exit(sys.version_info[:2] != (3, %d))",
             minor);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

        dup2(null, STDERR_FILENO);
        execlp(path, path, "-c", program, NULL);
        _exit(127);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static const char *keep_path(const char *path, size_t length)
{
    static char kept[1024];

    snprintf(kept, sizeof kept, "%.*s", (int)length, path);
    return kept;
}

static const char *find_listed(const char *list, int minor)
{
    while (*(list += strspn(list, " ")) != '\0') {
        size_t length = strcspn(list, " ");
        const char *path = keep_path(list, length);

        if (is_version(path, minor))
            return path;
        list += length;
    }
    return NULL;
}

static const char *find_pyenv(int minor)
{
    const char *home = getenv("HOME"), *found = NULL;
    char pattern[512];
    glob_t paths;

    snprintf(pattern, sizeof pattern, "%s/.pyenv/versions/3.%d.*/bin/python3",
             home == NULL ? "" : home, minor);
    if (glob(pattern, 0, NULL, &paths) != 0)
        return NULL;
    for (size_t i = 0; i < paths.gl_pathc && found == NULL; i++)
        if (is_version(paths.gl_pathv[i], minor))
            found = keep_path(paths.gl_pathv[i], strlen(paths.gl_pathv[i]));
    globfree(&paths);
    return found;
}

/* Valid until the next call; NULL: there is none. */
static const char *of_version(int minor)
{
    const char *list = getenv("TINE_PYTHONS"),
               *found = find_listed(list == NULL ? "" : list, minor);
    char usual[32];

    snprintf(usual, sizeof usual, "/usr/bin/python3.%d", minor);
    if (found == NULL)
        found = find_listed(usual, minor);
    if (found == NULL)
        found = find_pyenv(minor);
    return found != NULL ? found : find_listed(usual + strlen("/usr/bin/"), minor);
}

bool python_start_connecting(struct python *python, int minor)
{
    const char *path = of_version(minor);

    if (path == NULL)
        return false;
    start_at(python, path);
    python_do(python, "from multiprocessing.connection import Client, Listener");
    return true;
}
