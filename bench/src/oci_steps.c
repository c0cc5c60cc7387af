/* Runs a command in single steps, with all that it starts, and writes down which addresses of the
   program file it executed: scripts/hot-functions.sh makes the order of coffer-oci's functions of them.

     steps FILE FIRST END PROGRAM ARGUMENT…     addresses from FIRST to END (hexadecimal), one a line

   What a child executes after its own execve (the container's program) is left to itself. A process that
   is still there when the command has ended goes on by itself. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(long result, const char *what) {
  if (result < 0) {
    perror(what);
    exit(99);
  }
}

int main(int argc, char **argv) {
  if (argc < 5) {
    fputs("usage: steps FILE FIRST END PROGRAM ARGUMENT...\n", stderr);
    return 2;
  }
  unsigned long first = strtoul(argv[2], 0, 16), end = strtoul(argv[3], 0, 16);
  char *seen = calloc(end - first, 1);
  must(seen ? 0 : -1, "memory");
  pid_t command = fork();
  must(command, "fork");
  if (command == 0) {
    must(ptrace(PTRACE_TRACEME, 0, 0, 0), "traceme");
    execv(argv[4], argv + 4);
    must(-1, argv[4]);
  }
  int status, code = 0;
  must(waitpid(command, &status, 0), "wait");
  must(ptrace(PTRACE_SETOPTIONS, command, 0,
              PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC),
       "options");
  must(ptrace(PTRACE_SINGLESTEP, command, 0, 0), "step");
  for (pid_t pid; (pid = waitpid(-1, &status, __WALL)) > 0;) {
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      if (pid != command) continue;
      code = WIFEXITED(status) ? WEXITSTATUS(status) : 98;
      break;
    }
    int signal = WSTOPSIG(status);
    if (signal == SIGTRAP && status >> 16 == PTRACE_EVENT_EXEC && pid != command) {
      ptrace(PTRACE_DETACH, pid, 0, 0);
      continue;
    }
    struct user_regs_struct registers;
    if (ptrace(PTRACE_GETREGS, pid, 0, &registers) == 0 && registers.rip >= first && registers.rip < end)
      seen[registers.rip - first] = 1;
    int hand_on = signal == SIGTRAP || signal == SIGSTOP ? 0 : signal;
    ptrace(PTRACE_SINGLESTEP, pid, 0, hand_on);
  }
  FILE *file = fopen(argv[1], "w");
  must(file ? 0 : -1, argv[1]);
  for (unsigned long at = first; at < end; at++)
    if (seen[at - first]) fprintf(file, "%lx\n", at);
  must(fclose(file), argv[1]);
  return code;
}
