/* puppet WORD... - a service that does as it is told, one word after the other:
 *   say TEXT       print a line            exit N         end with N            kill N    end itself by signal N
 *   wait           until TERM, then go on  ignore N       don't react to signal N          abort     dump core
 *   hang           for ever                linger MS      stay busy so long               note PATH append our pid and the time to a file
 *   stop           SIGSTOP ourselves       close          close 1 and 2          eat MIB   use so much memory
 *   serve PORT     answer every HTTP request on that port of the loopback
 *   again          exec ourselves anew, time and again, so that we are in the middle of an exec most of the time
 *   vfork          wait for a child that shares our memory and never ends: uninterruptible sleep, as a broken disk makes it */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void linger(long ms)
{
    struct timespec pause_for = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&pause_for, &pause_for) < 0 && errno == EINTR) {}
}

static void note(const char *path)
{
    char text[64];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (fd < 0 ||
        write(fd, text, (size_t)snprintf(text, sizeof text, "%d %lld\n", (int)getpid(), now.tv_sec * 1000000LL + now.tv_nsec / 1000)) < 0)
        _exit(99);
    close(fd);
}

static void sleep_uninterruptibly(void)
{
    if (vfork() == 0)
        for (;;)
            pause();
}

static void serve(int port)
{
    static const char answer[] = "HTTP/1.0 200 OK\r\n\r\nwell\n";
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((unsigned short)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 16) < 0)
        _exit(98);
    for (;;) {
        char request[4096];
        int client = accept(listener, NULL, NULL);
        if (read(client, request, sizeof request) > 0 && write(client, answer, sizeof answer - 1) < 0)
            puts("it left");
        close(client);
    }
}

int main(int count, char **arguments)
{
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    for (int i = 1; i < count; i++)
        if (strcmp(arguments[i], "wait") == 0)
            sigprocmask(SIG_BLOCK, &term, NULL); /* from the start: who reads what it says may send TERM at once */
    for (int i = 1; i < count; i++) {
        const char *word = arguments[i], *next = i + 1 < count ? arguments[i + 1] : "";
        if (strcmp(word, "say") == 0) {
            puts(next);
            fflush(stdout);
            i++;
        } else if (strcmp(word, "exit") == 0) {
            return atoi(next);
        } else if (strcmp(word, "kill") == 0) {
            raise(atoi(next));
            i++;
        } else if (strcmp(word, "ignore") == 0) {
            signal(atoi(next), SIG_IGN);
            i++;
        } else if (strcmp(word, "linger") == 0) {
            linger(atol(next));
            i++;
        } else if (strcmp(word, "note") == 0) {
            note(next);
            i++;
        } else if (strcmp(word, "eat") == 0) {
            size_t size = (size_t)atol(next) << 20;
            char *memory = malloc(size);
            for (size_t at = 0; memory && at < size; at += 4096)
                memory[at] = (char)at;
            i++;
        } else if (strcmp(word, "wait") == 0) {
            while (sigwaitinfo(&term, NULL) < 0) {}
        } else if (strcmp(word, "abort") == 0) {
            abort();
        } else if (strcmp(word, "stop") == 0) {
            raise(SIGSTOP);
        } else if (strcmp(word, "close") == 0) {
            close(1);
            close(2);
        } else if (strcmp(word, "serve") == 0) {
            serve(atoi(next));
        } else if (strcmp(word, "again") == 0) {
            execv("/proc/self/exe", arguments);
            return 126;
        } else if (strcmp(word, "vfork") == 0) {
            sleep_uninterruptibly();
        } else if (strcmp(word, "hang") == 0) {
            for (;;)
                pause();
        } else {
            return 64;
        }
    }
    return 0;
}
