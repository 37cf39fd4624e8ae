/* SPDX-License-Identifier: MIT */
/* Messages that are built where their receiver reads them. */
#include <errno.h>

#include "tests/ipc/pipe_help.h"

HEAP_BEFORE_TESTS

#define LARGE ((size_t)300000)

/* Below the limit of a record, at it, and above. */
static const size_t sizes[] = {0, 1, 1000, 65536, 65537, LARGE};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static tine_message build(struct ends *ends, size_t size, struct stamp stamp)
{
    tine_message loan;
    void *data = NULL;

    ck_assert_rc(tine_connection_loan(ends->a, size, 0, &loan, &data), 0);
    ck_assert_ptr_eq(loan.data, data);
    ck_assert_uint_eq(loan.size, size);
    ck_assert_uint_eq((uintptr_t)data % 8, 0);
    stamp_fill(data, size, stamp);
    return loan;
}

static void expect(struct ends *ends, size_t size, uint32_t number)
{
    tine_message message;

    ck_assert_rc(tine_connection_recv_view(ends->b, 0, &message), 0);
    ck_assert_uint_eq(message.size, size);
    if (size >= sizeof(struct stamp))
        ck_assert_uint_eq(stamp_check(message.data, size).number, number);
    tine_message_release(&message);
}

TEST(what_was_built_is_received, .loop_end = SIZES)
{
    struct ends ends = pipe_with(&(tine_pipe_options){.check = TINE_CHECK_FULL});

    for (uint32_t i = 0; i < 50; i++) {
        tine_message loan = build(&ends, sizes[loop_index], (struct stamp){1, i});

        ck_assert_rc(tine_connection_send_loan(ends.a, &loan, 0), 0);
        ck_assert_ptr_null(loan.data);
        tine_message_release(&loan);
        expect(&ends, sizes[loop_index], i);
    }
    pipe_end(&ends);
}

TEST(a_loan_may_shrink_before_it_is_sent_but_not_grow)
{
    struct ends ends = pipe_with(NULL);
    tine_message loan = build(&ends, LARGE, (struct stamp){1, 1});
    void *data;

    loan.size = LARGE + 1;
    ck_assert_rc(tine_connection_send_loan(ends.a, &loan, 0), -EINVAL);
    loan.size = 100;
    stamp_fill((void *)(uintptr_t)loan.data, 100, (struct stamp){1, 7});
    ck_assert_rc(tine_connection_send_loan(ends.a, &loan, 0), 0);
    expect(&ends, 100, 7);
    ck_assert_rc(tine_connection_loan(ends.a, 100, 0, &loan, &data), 0);
    loan.size = 101;
    ck_assert_rc(tine_connection_send_loan(ends.a, &loan, 0), -EINVAL);
    loan.size = 0;
    ck_assert_rc(tine_connection_send_loan(ends.a, &loan, 0), 0);
    expect(&ends, 0, 0);
    pipe_end(&ends);
}

TEST(loans_that_are_not_sent_are_given_back)
{
    struct ends ends = pipe_with(NULL);

    for (int i = 0; i < 100; i++) {
        tine_message small = build(&ends, 100, (struct stamp){1, 1});
        tine_message large = build(&ends, LARGE, (struct stamp){1, 1});

        tine_message_release(&small);
        tine_message_release(&large);
        tine_message_release(&large);
    }
    pipe_end(&ends);
}

static void release_in_child(void *context)
{
    tine_message_release(context);
}

TEST(a_forked_child_does_not_give_back_its_parents_loan)
{
    struct ends ends = pipe_with(NULL);
    tine_message loan = build(&ends, LARGE, (struct stamp){1, 3}), copy = loan;
    struct child child = child_start(release_in_child, &copy);

    child_join(&child);
    ck_assert_rc(tine_connection_send_loan(ends.a, &loan, 0), 0);
    expect(&ends, LARGE, 3);
    pipe_end(&ends);
}

TEST(a_loan_that_finds_no_room_can_be_sent_again)
{
    struct ends ends = pipe_with(NULL);
    tine_message loan = build(&ends, LARGE, (struct stamp){1, 5}), message;
    static uint8_t small[1000];

    while (tine_connection_send_bytes(ends.a, small, sizeof small, 0) == 0)
        ;
    ck_assert_rc(tine_connection_send_loan(ends.a, &loan, 0), -EAGAIN);
    ck_assert_rc(tine_connection_send_loan(ends.a, &loan, TINE_US(100)), -ETIMEDOUT);
    ck_assert_ptr_nonnull(loan.data);
    do
        ck_assert_rc(tine_connection_recv_view(ends.b, 0, &message), 0);
    while (tine_message_release(&message), tine_connection_poll(ends.b, 0) == 1);
    ck_assert_rc(tine_connection_send_loan(ends.a, &loan, 0), 0);
    expect(&ends, LARGE, 5);
    pipe_end(&ends);
}

TEST(a_loan_waits_for_those_under_way)
{
    struct ends ends = pipe_with(NULL);
    size_t size = (size_t)8 << 20;
    tine_message loan;
    void *data = NULL;

    for (int i = 0; i < 2; i++) {
        ck_assert_rc(tine_connection_loan(ends.a, size, 0, &loan, &data), 0);
        ck_assert_rc(tine_connection_send_loan(ends.a, &loan, 0), 0);
    }
    ck_assert_rc(tine_connection_loan(ends.a, size, 0, &loan, &data), -EAGAIN);
    ck_assert_rc(tine_connection_loan(ends.a, size, TINE_US(100), &loan, &data), -ETIMEDOUT);
    ck_assert_rc(tine_connection_recv_view(ends.b, 0, &loan), 0);
    tine_message_release(&loan);
    ck_assert_rc(tine_connection_loan(ends.a, size, 0, &loan, &data), 0);
    tine_message_release(&loan);
    pipe_end(&ends);
}

TEST(what_is_no_loan_of_the_handle_is_refused)
{
    struct ends ends = pipe_with(&(tine_pipe_options){.message_bytes_max = LARGE}), other;
    tine_message loan, message = {.data = NULL};
    void *data;

    other = pipe_with(NULL);
    ck_assert_rc(tine_connection_loan(NULL, 1, 0, &loan, &data), -EINVAL);
    ck_assert_rc(tine_connection_loan(ends.a, 1, 0, NULL, &data), -EINVAL);
    ck_assert_rc(tine_connection_loan(ends.a, 1, 0, &loan, NULL), -EINVAL);
    ck_assert_rc(tine_connection_loan(ends.a, LARGE + 1, 0, &loan, &data), -EMSGSIZE);
    ck_assert_rc(tine_connection_send_loan(ends.a, NULL, 0), -EINVAL);
    ck_assert_rc(tine_connection_send_loan(ends.a, &message, 0), -EINVAL);
    for (size_t size = 100; size <= LARGE; size += LARGE - 100) {
        loan = build(&ends, size, (struct stamp){1, 1});
        ck_assert_rc(tine_connection_send_loan(ends.b, &loan, 0), -EINVAL);
        ck_assert_rc(tine_connection_send_loan(other.a, &loan, 0), -EINVAL);
        ck_assert_rc(tine_connection_send_loan(ends.a, &loan, 0), 0);
        ck_assert_rc(tine_connection_recv_view(ends.b, 0, &message), 0);
        ck_assert_rc(tine_connection_send_loan(ends.b, &message, 0), -EINVAL);
        tine_message_release(&message);
    }
    tine_connection_close(other.a);
    tine_connection_close(other.b);
    pipe_end(&ends);
}

TEST(only_who_sends_borrows)
{
    struct ends ends = pipe_with(&(tine_pipe_options){.simplex = 1});
    tine_message loan;
    void *data;

    ck_assert_rc(tine_connection_loan(ends.a, LARGE, 0, &loan, &data), -EBADF);
    ck_assert_rc(tine_connection_loan(ends.b, LARGE, 0, &loan, &data), 0);
    tine_connection_close(ends.a);
    ends.a = NULL;
    ck_assert_rc(tine_connection_send_loan(ends.b, &loan, 0), -EPIPE);
    tine_message_release(&loan);
    pipe_end(&ends);
}

SUITE("ipc/loan")
