/* The gate that every wrapped call passes: faults.h. */
#include "faults.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef __x86_64__
#error "-Dfail_calls=true: the gate is written for x86-64 alone"
#endif

#define ARGUMENTS 6 /* those in registers: no row means a later one */

enum manner { PLAIN, ERRNO, QUEUE, AFTER, TAKES, SAYS, STREAM, FOUND };

struct row {
    const char *name;
    enum manner manner;
    int detail;
    long result;
    unsigned index;
};

typedef long real_fn(long, long, long, long, long, long);

/* Called by the gate below. */
bool fault_decide(const struct row *row, const long *args, uintptr_t site, real_fn *real,
                  long *ret_result) __attribute__((used, visibility("hidden")));

/* Every function gets an index, a row, and a __wrap_ in place of which the linker puts calls of it. */
enum {
#define CALL(symbol, result, manner, detail) INDEX_##symbol,
#include "calls.def"
#undef CALL
    N_ROWS
};
_Static_assert(N_ROWS <= FAULT_ROWS_MAX, "the board has room for every row");

/* Global, as the assembler names it. */
#define CALL(symbol, how, manner, detail)                                                          \
    extern const struct row fault_row_##symbol __attribute__((visibility("hidden")));              \
    const struct row fault_row_##symbol = {#symbol, manner, detail, (long)(how), INDEX_##symbol};  \
    __asm__(".pushsection .text\n"                                                                 \
            ".globl __wrap_" #symbol "\n"                                                          \
            ".type __wrap_" #symbol ", @function\n"                                                \
            "__wrap_" #symbol ":\n"                                                                \
            ".cfi_startproc\n"                                                                     \
            "endbr64\n"                                                                            \
            "leaq fault_row_" #symbol "(%rip), %r11\n"                                             \
            "movq __real_" #symbol "@GOTPCREL(%rip), %r10\n"                                       \
            "jmp fault_gate\n"                                                                     \
            ".cfi_endproc\n"                                                                       \
            ".size __wrap_" #symbol ", . - __wrap_" #symbol "\n"                                   \
            ".popsection\n");
#include "calls.def"
#undef CALL

/* %r11: the row, %r10: the real function. All that may be an argument is kept, so that the call goes on as if it had
 * never been here, whatever its prototype, or returns what was decided. */
__asm__(".pushsection .text\n"
        ".type fault_gate, @function\n"
        "fault_gate:\n"
        ".cfi_startproc\n"
        "pushq %rbp\n"
        ".cfi_def_cfa_offset 16\n"
        ".cfi_offset %rbp, -16\n"
        "movq %rsp, %rbp\n"
        ".cfi_def_cfa_register %rbp\n"
        "subq $208, %rsp\n"
        "movq %rdi, 0(%rsp)\n"
        "movq %rsi, 8(%rsp)\n"
        "movq %rdx, 16(%rsp)\n"
        "movq %rcx, 24(%rsp)\n"
        "movq %r8, 32(%rsp)\n"
        "movq %r9, 40(%rsp)\n"
        "movq %rax, 48(%rsp)\n" /* how many are in vector registers, of a variadic function */
        "movq %r10, 56(%rsp)\n" /* 64: the result */
        "movaps %xmm0, 80(%rsp)\n"
        "movaps %xmm1, 96(%rsp)\n"
        "movaps %xmm2, 112(%rsp)\n"
        "movaps %xmm3, 128(%rsp)\n"
        "movaps %xmm4, 144(%rsp)\n"
        "movaps %xmm5, 160(%rsp)\n"
        "movaps %xmm6, 176(%rsp)\n"
        "movaps %xmm7, 192(%rsp)\n"
        "movq %r11, %rdi\n"
        "movq %rsp, %rsi\n"
        "movq 8(%rbp), %rdx\n"
        "movq %r10, %rcx\n"
        "leaq 64(%rsp), %r8\n"
        "call fault_decide\n"
        "testb %al, %al\n"
        "jnz 1f\n"
        "movq 0(%rsp), %rdi\n"
        "movq 8(%rsp), %rsi\n"
        "movq 16(%rsp), %rdx\n"
        "movq 24(%rsp), %rcx\n"
        "movq 32(%rsp), %r8\n"
        "movq 40(%rsp), %r9\n"
        "movq 48(%rsp), %rax\n"
        "movq 56(%rsp), %r10\n"
        "movaps 80(%rsp), %xmm0\n"
        "movaps 96(%rsp), %xmm1\n"
        "movaps 112(%rsp), %xmm2\n"
        "movaps 128(%rsp), %xmm3\n"
        "movaps 144(%rsp), %xmm4\n"
        "movaps 160(%rsp), %xmm5\n"
        "movaps 176(%rsp), %xmm6\n"
        "movaps 192(%rsp), %xmm7\n"
        "leave\n"
        ".cfi_remember_state\n"
        ".cfi_def_cfa %rsp, 8\n"
        "jmp *%r10\n"
        ".cfi_restore_state\n"
        "1: movq 64(%rsp), %rax\n"
        "leave\n"
        ".cfi_def_cfa %rsp, 8\n"
        "ret\n"
        ".cfi_endproc\n"
        ".size fault_gate, . - fault_gate\n"
        ".popsection\n");

extern const char __ehdr_start[]; /* the linker's: where the program's file begins in memory */

static struct fault_board *board;
static _Thread_local unsigned n_pauses;

static uint64_t load(const uint64_t *from)
{
    return __atomic_load_n(from, __ATOMIC_ACQUIRE);
}

static void store(uint64_t *to, uint64_t value)
{
    __atomic_store_n(to, value, __ATOMIC_RELEASE);
}

static uint64_t add(uint64_t *to)
{
    return __atomic_add_fetch(to, 1, __ATOMIC_ACQ_REL);
}

static void fail_call(const struct row *row, const long *args, real_fn *real)
{
    switch (row->manner) {
    case PLAIN:
        return;
    case ERRNO:
        errno = row->detail;
        return;
    case QUEUE:
        ERR_raise(row->detail, ERR_R_MALLOC_FAILURE);
        return;
    case AFTER:
        real(args[0], args[1], args[2], args[3], args[4], args[5]);
        errno = row->detail;
        return;
    case TAKES:
        json_decref((json_t *)args[row->detail]);
        return;
    case SAYS:
        if (args[row->detail] != 0) {
            json_error_t *error = (json_error_t *)args[row->detail];
            *error = (json_error_t){.line = -1, .column = -1, .text = "out of memory"};
            error->text[sizeof error->text - 1] = json_error_out_of_memory;
        }
        return;
    case STREAM:
        if (args[row->detail] != 0)
            ((FILE *)args[row->detail])->_flags |= _IO_ERR_SEEN;
        errno = EIO;
        return;
    case FOUND:
        if (args[row->detail] != 0)
            *(int *)args[row->detail] = 1;
        return;
    }
}

bool fault_decide(const struct row *row, const long *args, uintptr_t site, real_fn *real,
                  long *ret_result)
{
    uint64_t thread;

    if (board == NULL || load(&board->is_armed) == 0 || n_pauses > 0)
        return false;
    thread = load(&board->thread);
    if (thread != 0 && thread != (uint64_t)(uintptr_t)&n_pauses)
        return false;
    uint64_t n = add(&board->n_calls), nth = load(&board->nth),
             offset = site - (uintptr_t)__ehdr_start;
    if (n <= FAULT_SITES_MAX)
        board->sites[n - 1] = (uint32_t)offset;
    add(&board->rows[row->index].n_calls);
    bool again = load(&board->lasts) != 0 && load(&board->row) == row->index + 1;
    bool is_there = load(&board->at_site) == offset && load(&board->n_failed) == 0;
    if (n != nth && !again && !is_there)
        return false;
    add(&board->n_failed);
    add(&board->rows[row->index].n_failed);
    store(&board->site, offset);
    store(&board->row, row->index + 1);
    fail_call(row, args, real);
    *ret_result = row->result;
    return true;
}

static void name_rows(struct fault_board *fresh)
{
    static const char *const names[] = {
#define CALL(symbol, result, manner, detail) #symbol,
#include "calls.def"
#undef CALL
    };

    fresh->n_rows = N_ROWS;
    for (unsigned i = 0; i < N_ROWS; i++)
        snprintf(fresh->rows[i].name, sizeof fresh->rows[i].name, "%s", names[i]);
}

/* Before main(), and before anything could keep the process from the file. Shared in any case: who forks sees what its
 * children come to. */
static void __attribute__((constructor)) begin(void)
{
    const char *path = getenv("TH_FAULT_BOARD");
    int fd = path != NULL ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    int flags = path != NULL ? MAP_SHARED : MAP_SHARED | MAP_ANONYMOUS;
    void *memory = MAP_FAILED;

    if (path == NULL || (fd >= 0 && ftruncate(fd, sizeof *board) == 0))
        memory = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (memory == MAP_FAILED) {
        perror(path != NULL ? path : "failing calls");
        _exit(3);
    }
    if (fd >= 0)
        close(fd);
    name_rows(memory);
    board = memory;
}

const struct fault_board *fault_look(void)
{
    return board;
}

void fault_arm(uint64_t nth, bool lasts)
{
    store(&board->is_armed, 0);
    board->nth = nth;
    board->at_site = 0;
    board->lasts = lasts;
    board->thread = (uint64_t)(uintptr_t)&n_pauses;
    board->n_calls = board->n_failed = board->row = board->site = 0;
    store(&board->is_armed, 1);
}

void fault_aim(uint64_t nth, bool lasts)
{
    store(&board->nth, nth);
    store(&board->lasts, lasts);
}

void fault_disarm(void)
{
    store(&board->is_armed, 0);
}

void fault_pause(void)
{
    n_pauses++;
}

void fault_resume(void)
{
    n_pauses--;
}
