/* The real program in a storm: twenty services that crash, hang, ignore TERM, leave orphans and talk much, while they are killed at
 * random, the plan changes under them, and commands come in. Whatever happened, afterwards it is as it was: nobody too many, no memory
 * and no descriptor more than after the first part, and each line of the talkers is in the files and on the console, or told as dropped.
 * SOAK_SECONDS: how long it goes on, half of it for each kind. SOAK_SEED: the chances of a run that failed, which it has printed. */
#include "account.h"
#include "node.h"
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PUPPET   "programs .. 'puppet', "
#define LOG_SIZE "256k"

enum {
    LOG_SIZE_BYTES = 256 << 10,
    FLOOD_LINES = 40000, /* at once, every few seconds: more than the program keeps for a reader that is slow */
    ODD_ONES = 14,
    FAMILY_SIZE = 5,
    SETTLE_S = 60,
    CALM_S = 5,             /* longer than the flood's pause */
    ROUNDS_OF_WARMTH = 150, /* each thing has happened several times by then */
    GROWTH_KIB = 512,
    GROWTH_DESCRIPTORS = 2, /* some are open for a moment only */
};

/* The talkers. `whole` waits for a slow reader instead of losing a line, `flood` is the one that makes it slow. */
static const struct talker {
    const char *name, *amount, *log;
} talkers[] = {
    {"talk", "'10', '10'", "{}"},
    {"whole", "'20', '20'", "{ full = 'block' }"},
    {"quiet", "'50', '50'", "{ console = false }"},
    {"flood", "'40000', '3000'", "{}"},
};
enum { TALKERS = sizeof talkers / sizeof *talkers, FLOOD = TALKERS - 1, MEMBERS = TALKERS + 2 * FAMILY_SIZE + ODD_ONES };

static const char *const moods[] = {
    /* The first is the calm one. It says enough to fill what the program keeps of it, and its log file is open then: so it costs the same
     * in each calm, whatever it has said in the storm. */
    "'/bin/sh', '-c', 'seq 5000; exec \"$0\" wait', programs .. 'puppet'",
    PUPPET "'linger', '30', 'exit', '3'",
    PUPPET "'linger', '200', 'kill', '11'",
    PUPPET "'say', 'no end of it', 'ignore', '15', 'hang'",
    PUPPET "'linger', '100', 'stop'",
    PUPPET "'linger', '50', 'exit', '0'",
    PUPPET "'close', 'linger', '300'",
    "programs .. 'orphans', '20', 'chain'",
    "programs .. 'orphans', '5', 'burst'",
    "'/nowhere/java'",
    "'/bin/sh', '-c', 'seq 5000; sleep 0.2; seq 5000; exit 1'",
    "'/bin/sh', '-c', '\"$0\" hang & setsid \"$0\" hang & exec \"$0\" linger 300', programs .. 'puppet'",
};
enum { MOODS = sizeof moods / sizeof *moods };

struct storm {
    struct node *node;
    uint64_t chance;
    struct account files[TALKERS], console[TALKERS];
    char words[20][200]; /* the last that the program itself has said */
    unsigned said;
    int64_t read_ns; /* when the files were last read */
    unsigned rounds, kills, commands, plans;
};

/* xorshift64: the same storm from the same seed, as far as the machine lets it. */
static unsigned draw(struct storm *s, unsigned below)
{
    s->chance ^= s->chance << 13;
    s->chance ^= s->chance >> 7;
    s->chance ^= s->chance << 17;
    return (unsigned)(s->chance >> 32) % below;
}

/* --- what the node prints, and its log files --- */

/* "TIME talk | talk 17 xxx." or "TIME appliance | warning: talk: 12,345 lines (1 MiB) dropped: the reader of our output was slow" */
static void take_line(void *argument, const char *line, size_t length)
{
    struct storm *s = argument;
    for (int i = 0; i < TALKERS; i++) {
        char prefix[64];
        const char *end = line + length, *text = strstr(line, " | ");
        size_t size = (size_t)snprintf(prefix, sizeof prefix, " %s | ", talkers[i].name);
        if (text && text - line >= (ptrdiff_t)size - 3 && strncmp(text + 3 - size, prefix, size) == 0)
            account_line(&s->console[i], text + 3, (size_t)(end - text - 3));
        snprintf(prefix, sizeof prefix, " appliance | warning: %s: ", talkers[i].name);
        if ((text = strstr(line, prefix)) && strstr(text, " dropped: the reader of our output"))
            account_dropped(&s->console[i], text);
    }
    if (strstr(line, " appliance | "))
        snprintf(s->words[s->said++ % 20], sizeof s->words[0], "%.*s", (int)length, line);
}

static void print_last_words(const struct storm *s)
{
    for (unsigned i = s->said > 20 ? s->said - 20 : 0; i < s->said; i++)
        print_error("%s\n", s->words[i % 20]);
}

static const char *said_path(const struct storm *s, int talker)
{
    char name[32];
    snprintf(name, sizeof name, "%s.said", talkers[talker].name);
    return scratch_path(s->node->folder, name);
}

static void read_files(struct storm *s)
{
    for (int i = 0; i < TALKERS; i++) {
        char name[32];
        snprintf(name, sizeof name, "logs/%s.log", talkers[i].name);
        if (scratch_has(s->node->folder, name))
            account_files(&s->files[i], scratch_path(s->node->folder, name), LOG_SIZE_BYTES);
    }
    s->read_ns = clock_ns();
}

/* Everything so far: called all the time, so that the program has a reader and no file is rotated away unread. */
static void follow(struct storm *s)
{
    node_take_lines(s->node, take_line, s);
    if (clock_ns() - s->read_ns > NS_PER_S)
        read_files(s);
    if (s->node->ended) {
        print_last_words(s);
        fail_msg("the program ended: status %#x\n%s", (unsigned)s->node->status, s->node->text);
    }
}

/* Nobody reads while the flood says what is more than can be kept: lines must be dropped, and counted. */
static void read_nothing_for_a_while(struct storm *s)
{
    const char *path = said_path(s, FLOOD);
    uint64_t enough = account_said(path) + FLOOD_LINES;
    for (int64_t limit = clock_ns() + 6 * NS_PER_S; account_said(path) < enough && clock_ns() < limit;)
        usleep(10000);
    read_files(s);
}

/* --- the storm --- */

/* Calm: each of the odd ones waits for TERM, and no talker is a flood. Else each has its mood, one is missing now and then, and the talkers start anew. */
static void change_plan(struct storm *s, bool calm)
{
    char text[16384];
    size_t at = 0;
    for (int i = 0; i < TALKERS; i++)
        at += (size_t)snprintf(text + at, sizeof text - at,
                               "service { name = '%s', command = { programs .. 'talker', '%s', folder .. '%s.said', %s }, log = %s,\n"
                               "  env = { MOOD = '%u' }, backoff = { min = 0.01, max = 0.5 } },\n",
                               talkers[i].name, talkers[i].name, talkers[i].name, calm ? "'10', '50'" : talkers[i].amount, talkers[i].log,
                               calm ? 0 : draw(s, 2));
    for (int i = 0; i < 2; i++)
        at += (size_t)snprintf(text + at, sizeof text - at,
                               "service { name = 'family%d', command = { programs .. 'family', folder%s },\n"
                               "  backoff = { min = 0.01, max = 0.5 }, stop = { grace = 0.3 } },\n",
                               i, calm || draw(s, 2) ? "" : ", 'daemon=ignore', 'pg=200'");
    for (int i = 0; i < ODD_ONES; i++)
        if (calm || draw(s, 8) > 0)
            at += (size_t)snprintf(text + at, sizeof text - at,
                                   "service { name = 'odd%d', command = { %s }, critical = false, stop = { grace = 0.3 },\n"
                                   "  backoff = { min = 0.01, max = 0.5 }%s },\n",
                                   i, moods[calm ? 0 : draw(s, MOODS)], calm || i == 0 || draw(s, 3) ? "" : ", after = { talk = 'ready' }");
    if (!calm && draw(s, 8) == 0)
        snprintf(text + at, sizeof text - at, "servise { name = 'wrong' }"); /* everything stays as it was */
    assert_true(at < sizeof text - 64);
    node_plan(s->node, text);
    node_signal(s->node, SIGHUP);
    s->plans++;
}

static void order(struct storm *s)
{
    static const char *const orders[] = {
        "status",
        "status --json",
        "logs talk",
        "logs -f talk | head -n 50",
        "logs --bytes 100000 flood",
        "healthcheck",
        "plan",
        "plan --diff",
        "restart odd%u",
        "restart --no-wait family1",
        "stop odd%u",
        "start odd%u",
        "stop --no-wait odd%u",
        "start --no-wait odd%u",
        "restart whole",
        "status --watch | head -n 1",
        "stop family0",
        "start --no-wait family0",
    };
    char words[64];
    const char *chosen = orders[draw(s, sizeof orders / sizeof *orders)];
    snprintf(words, sizeof words, chosen, draw(s, ODD_ONES));
    int code = node_command(s->node, words);
    if (code < 0 || code == 70 || code > 124) /* 1: it crashed meanwhile, or there is none */
        fail_msg("%s: ended with %d: %s", words, code, scratch_read(s->node->folder, "command"));
    s->commands++;
}

/* Until its exec a child runs in the program's own memory, and the program waits for it (CLONE_VFORK): to stop the one is to stop both. */
static bool is_half_born(pid_t pid)
{
    char path[64], name[32] = "";
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? 0 : read(fd, name, sizeof name - 1);
    if (fd >= 0)
        close(fd);
    return length > 0 && strncmp(name, "spark-appliance", 15) == 0;
}

static void strike(struct storm *s)
{
    static const int signals[] = {SIGKILL, SIGKILL, SIGKILL, SIGKILL, SIGTERM, SIGSEGV, SIGSTOP, SIGCONT};
    pid_t pid = node_member(s->node, draw(s, 1U << 30));
    int signal = signals[draw(s, sizeof signals / sizeof *signals)];
    if (pid > 0 && !(signal == SIGSTOP && is_half_born(pid)) && kill(pid, signal) == 0)
        s->kills++;
}

static void one_round(struct storm *s)
{
    unsigned what = draw(s, 100);
    if (what < 60)
        strike(s);
    else if (what < 80)
        order(s);
    else if (what < 90)
        change_plan(s, false);
    else if (what < 98)
        node_signal(s->node, what < 96 ? SIGHUP : SIGUSR1);
    else if (what < 99)
        for (int i = 0; i < 20; i++)
            strike(s);
    else
        read_nothing_for_a_while(s);
    follow(s);
    s->rounds++;
}

/* Until everybody of the calm plan is there, and nobody else. Returns what the program costs then. */
static struct process_cost settle(struct storm *s)
{
    change_plan(s, true);
    for (int i = 0; i < 3; i++)
        node_signal_members(s->node, (const char *const[]){"talker", "puppet", "family"}[i], SIGCONT);
    char words[512] = "start --no-wait whole";
    for (size_t i = 0, at = strlen(words); i < ODD_ONES; i++)
        at += (size_t)snprintf(words + at, sizeof words - at, " odd%zu", i);
    node_command(s->node, words);
    node_command(s->node, "restart --no-wait family0 family1"); /* members of a family that were killed don't come back by themselves */
    int members = 0, zombies = 0, times = 0;
    for (int64_t limit = clock_ns() + SETTLE_S * NS_PER_S; times < 20; times++) {
        follow(s);
        members = node_members(s->node, &zombies);
        if (members != MEMBERS || zombies > 0)
            times = -1;
        if (clock_ns() > limit) {
            node_command(s->node, "status");
            fail_msg("%d processes instead of %d, and %d zombies, in the calm after the storm:\n%s", members, MEMBERS, zombies,
                     scratch_read(s->node->folder, "command"));
        }
    }
    assert_int_equal(node_command(s->node, "healthcheck"), 0);
    /* The same plan once more, so that the program tidies up within the calm: what it has in memory of its own file differs by what it was
     * asked last. */
    node_signal(s->node, SIGHUP);
    /* What the last flood took is given back a moment later, and while a file is rotated there is one descriptor less. */
    struct process_cost calm = process_cost(s->node->pid);
    for (int64_t until = clock_ns() + CALM_S * NS_PER_S; clock_ns() < until; follow(s)) {
        struct process_cost now = process_cost(s->node->pid);
        if (now.pss_kib < calm.pss_kib)
            calm.pss_kib = now.pss_kib;
        if (now.rss_kib < calm.rss_kib)
            calm.rss_kib = now.rss_kib;
        if (now.descriptors > calm.descriptors)
            calm.descriptors = now.descriptors;
    }
    return calm;
}

/* --- the whole of it --- */

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *given = getenv(name);
    return given && *given ? strtoull(given, NULL, 10) : otherwise;
}

static void open_accounts(struct storm *s)
{
    for (int i = 0; i < TALKERS; i++) {
        s->files[i] = (struct account){.name = talkers[i].name, .place = "its log files", .whole = true};
        s->console[i] = (struct account){.name = talkers[i].name, .place = "the console", .whole = strcmp(talkers[i].name, "whole") == 0};
    }
}

static void close_accounts(struct storm *s)
{
    node_take_lines(s->node, take_line, s);
    read_files(s);
    for (int i = 0; i < TALKERS; i++) {
        uint64_t said = account_said(said_path(s, i));
        account_close(&s->files[i], said);
        bool silent = strstr(talkers[i].log, "console = false");
        if (!silent)
            account_close(&s->console[i], said);
        print_message("%s: %llu lines, %llu of them dropped on the console, all in its files\n", talkers[i].name, (unsigned long long)said,
                      (unsigned long long)(s->console[i].missing + s->console[i].told));
        assert_true(said > 0);
    }
    assert_true(s->console[FLOOD].missing > 0);
}

static void weather(enum node_kind kind, const char *kind_name)
{
    struct storm s = {.chance = number_from("SOAK_SEED", 20261122) * 2 + 1};
    int64_t seconds = (int64_t)number_from("SOAK_SECONDS", 300) / 2;
    if (waitpid(-1, NULL, WNOHANG) >= 0 || errno != ECHILD)
        fail_msg("there are children left of a test that failed");
    print_message("%s: %lld s, SOAK_SEED=%llu\n", kind_name, (long long)seconds, (unsigned long long)(s.chance / 2));
    char *folder = scratch_new(), logs[200];
    snprintf(logs, sizeof logs, "LOG_DIR=%s/logs", folder);
    static const char first[] = "service { name = 'odd0', command = { " PUPPET "'say', 'up', 'wait' } }";
    char *environment[] = {logs, "LOG_SIZE=" LOG_SIZE, "LOG_KEEP=200", NULL};
    open_accounts(&s);
    s.node = node_start(folder, &(struct node_options){.kind = kind, .environment = environment, .services = first});
    node_await(s.node, "odd0 | up");
    settle(&s);
    change_plan(&s, false);
    read_nothing_for_a_while(&s);
    int64_t began = clock_ns();
    while (s.rounds < ROUNDS_OF_WARMTH || clock_ns() - began < seconds * NS_PER_S / 4) /* until the heap has seen its usual peaks */
        one_round(&s);
    struct process_cost before = settle(&s);
    while (clock_ns() - began < seconds * NS_PER_S)
        one_round(&s);
    struct process_cost after = settle(&s);
    print_message("%u rounds: %u signals, %u commands, %u plans\n", s.rounds, s.kills, s.commands, s.plans);
    print_message("PSS %lld KiB after warming up, %lld KiB at the end; RSS %lld, %lld; descriptors %d, %d\n", before.pss_kib, after.pss_kib,
                  before.rss_kib, after.rss_kib, before.descriptors, after.descriptors);
    assert_true(after.pss_kib <= before.pss_kib + GROWTH_KIB);
    assert_true(after.rss_kib <= before.rss_kib + GROWTH_KIB);
    assert_true(after.descriptors <= before.descriptors + GROWTH_DESCRIPTORS);
    node_signal(s.node, SIGTERM);
    assert_int_equal(node_await_end(s.node), 0);
    assert_null(strstr(s.node->text, "left to the kernel"));
    assert_int_equal(node_members(s.node, NULL), 0);
    close_accounts(&s);
    if (waitpid(-1, NULL, WNOHANG) >= 0 || errno != ECHILD) /* we are the subreaper: who survived is our child now */
        fail_msg("somebody of it lives on, or was left to be reaped");
    node_free(s.node);
}

static void a_storm_around_pid_1_leaves_nothing_behind(void **unused)
{
    (void)unused;
    weather(NODE_PID1, "PID 1");
}

static void a_storm_around_an_ordinary_process_leaves_nothing_behind(void **unused)
{
    (void)unused;
    weather(NODE_PLAIN, "ordinary process");
}

int main(void)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_storm_around_pid_1_leaves_nothing_behind),
        cmocka_unit_test(a_storm_around_an_ordinary_process_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
