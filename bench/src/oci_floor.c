/* What the kernel alone costs: a container of the default document, made by as few system calls as do
   it, with nothing parsed, checked, recorded or reported. No runtime can use less; `bench oci` tells
   each as a multiple of this.

     floor run ROOTFS NAME FILTER LIMITS NETNS CGROUP-MOUNT…   the whole life of a container
     floor exec PID ROOT NAME CGROUP-MOUNT…                    one more process in one
     floor nothing                                             a static program that does nothing

   FILTER: a file of struct sock_filter, or "-". LIMITS: "limits" or "-". NETNS: a namespace file, "host",
   or "-" for a new one. Every step must work: a floor with a hole in it would be too low. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(long result, const char *what) {
  if (result < 0) {
    perror(what);
    _exit(99);
  }
}

static int put(int dir, const char *name, const char *text) {
  int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  long n = write(fd, text, strlen(text));
  close(fd);
  return n < 0 ? -1 : 0;
}

static void copy(int from, int to, const char *name) {
  char text[256];
  int fd = openat(from, name, O_RDONLY | O_CLOEXEC);
  must(fd, name);
  long n = read(fd, text, sizeof text - 1);
  must(n, name);
  close(fd);
  text[n] = 0;
  must(put(to, name, text), name);
}

#define MOST 16
static int tasks[MOST];
static int count;

/* The default devices' rules and the limits: written where they belong, once. */
static void settle(const char *mount, int parent, int dir, int limits) {
  const char *name = strrchr(mount, '/') + 1;
  if (!strcmp(name, "cpuset")) {
    copy(parent, dir, "cpuset.cpus");
    copy(parent, dir, "cpuset.mems");
  } else if (!strcmp(name, "devices")) {
    static const char *const rules[] = {"c *:* m",   "b *:* m",   "c 1:3 rwm", "c 1:5 rwm",
                                        "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm",
                                        "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm"};
    /* A child that was removed a moment ago still counts. */
    while (put(dir, "devices.deny", "a") < 0 && errno == EINVAL) usleep(2000);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
      must(put(dir, "devices.allow", rules[i]), "devices.allow");
  } else if (limits && !strcmp(name, "memory")) {
    must(put(dir, "memory.limit_in_bytes", "268435456"), "memory");
  } else if (limits && !strcmp(name, "cpu")) {
    must(put(dir, "cpu.shares", "512"), "cpu.shares");
    must(put(dir, "cpu.cfs_period_us", "100000"), "cpu.cfs_period_us");
    must(put(dir, "cpu.cfs_quota_us", "50000"), "cpu.cfs_quota_us");
  } else if (limits && !strcmp(name, "pids")) {
    must(put(dir, "pids.max", "128"), "pids.max");
  }
}

static void mask(const char *path, int directory) {
  if (directory)
    must(mount("tmpfs", path, "tmpfs", MS_RDONLY, 0) < 0 && errno != ENOENT ? -1 : 0, path);
  else
    must(mount("/dev/null", path, 0, MS_BIND, 0) < 0 && errno != ENOENT ? -1 : 0, path);
}

static void readonly(const char *path) {
  if (mount(path, path, 0, MS_BIND | MS_REC, 0) < 0) {
    must(errno == ENOENT ? 0 : -1, path);
    return;
  }
  must(mount(0, path, 0, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, 0), path);
}

static void node(const char *path, int minor, int major) {
  must(mknod(path, S_IFCHR | 0666, makedev(major, minor)), path);
}

static struct sock_fprog filter;

/* While the host's files are there. */
static void read_filter(const char *path) {
  static struct sock_filter program[4096];
  if (!strcmp(path, "-")) return;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  must(fd, path);
  long n = read(fd, program, sizeof program);
  must(n, path);
  close(fd);
  filter = (struct sock_fprog){(unsigned short)(n / (long)sizeof *program), program};
}

static void confine(void) {
  unsigned long keep = 1UL << CAP_AUDIT_WRITE | 1UL << CAP_KILL | 1UL << CAP_NET_BIND_SERVICE;
  for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
    if (!(keep >> cap & 1)) must(prctl(PR_CAPBSET_DROP, cap, 0, 0, 0), "bounding set");
  must(syscall(SYS_setgroups, 0, 0), "setgroups");
  must(syscall(SYS_setresgid, 0, 0, 0), "setresgid");
  must(syscall(SYS_setresuid, 0, 0, 0), "setresuid");
  struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {{(unsigned)keep, (unsigned)keep, 0}, {0, 0, 0}};
  /* The filter needs no_new_privs only. */
  must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
  must(syscall(SYS_capset, &head, data), "capset");
  if (filter.len) must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter), "seccomp");
}

static void become_true(void) {
  char *const args[] = {"true", 0}, *const env[] = {"PATH=/bin", "TERM=xterm", 0};
  must(chdir("/"), "chdir");
  must(syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC), "close_range");
  execve("/bin/true", args, env);
  must(-1, "execve");
}

static void container(const char *rootfs, int own_net, char **mounts) {
  for (int i = 0; i < count; i++) must(write(tasks[i], "0", 1), "tasks");
  must(unshare(CLONE_NEWCGROUP), "cgroup namespace");
  must(setsid(), "setsid");
  must(syscall(SYS_keyctl, 1 /* join session keyring */, "_ses.floor"), "keyctl");
  if (own_net) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    must(ioctl(fd, SIOCSIFFLAGS, &lo), "lo");
    close(fd);
  }
  must(sethostname("runc", 4), "hostname");
  umask(0);
  must(mount(0, "/", 0, MS_REC | MS_SLAVE, 0), "propagation");
  must(mount(rootfs, rootfs, 0, MS_BIND | MS_REC, 0), "rootfs");
  must(chdir(rootfs), "chdir");
  must(mount("proc", "proc", "proc", 0, 0), "proc");
  must(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"), "dev");
  must(mkdir("dev/pts", 0755), "pts");
  must(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"), "pts");
  must(mkdir("dev/shm", 0755), "shm");
  must(mount("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=1777,size=65536k"), "shm");
  must(mkdir("dev/mqueue", 0755), "mqueue");
  must(mount("mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NOEXEC | MS_NODEV, 0), "mqueue");
  if (own_net) {
    must(mount("sysfs", "sys", "sysfs", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY, 0), "sysfs");
    must(mount("tmpfs", "sys/fs/cgroup", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=755"), "cgroup");
    for (; *mounts; mounts++) {
      char at[128], options[64];
      const char *name = strrchr(*mounts, '/') + 1;
      snprintf(at, sizeof at, "sys/fs/cgroup/%s", name);
      must(mkdir(at, 0755), at);
      snprintf(options, sizeof options, "%s%s", strcmp(name, "systemd") ? "" : "name=", name);
      must(mount("cgroup", at, "cgroup", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY, options), at);
    }
    must(mount(0, "sys/fs/cgroup", 0, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC | MS_NODEV, 0), "cgroup ro");
  }
  node("dev/null", 3, 1), node("dev/zero", 5, 1), node("dev/full", 7, 1);
  node("dev/random", 8, 1), node("dev/urandom", 9, 1), node("dev/tty", 0, 5);
  must(symlink("/proc/self/fd", "dev/fd"), "fd");
  must(symlink("/proc/self/fd/0", "dev/stdin"), "stdin");
  must(symlink("/proc/self/fd/1", "dev/stdout"), "stdout");
  must(symlink("/proc/self/fd/2", "dev/stderr"), "stderr");
  must(symlink("pts/ptmx", "dev/ptmx"), "ptmx");
  must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
  must(umount2(".", MNT_DETACH), "umount");
  readonly("/proc/bus"), readonly("/proc/fs"), readonly("/proc/irq");
  readonly("/proc/sys"), readonly("/proc/sysrq-trigger");
  mask("/proc/acpi", 1), mask("/proc/asound", 1), mask("/proc/kcore", 0), mask("/proc/keys", 0);
  mask("/proc/latency_stats", 0), mask("/proc/timer_list", 0), mask("/proc/timer_stats", 0);
  mask("/proc/sched_debug", 0), mask("/proc/scsi", 1);
  if (own_net) mask("/sys/firmware", 1);
  must(mount(0, "/", 0, MS_REMOUNT | MS_BIND | MS_RDONLY, 0), "read-only");
  umask(022);
  confine();
  become_true();
}

static pid_t new_process(unsigned long flags) {
  struct clone_args args = {.flags = flags, .exit_signal = SIGCHLD};
  long pid = syscall(SYS_clone3, &args, sizeof args);
  must(pid, "clone3");
  return (pid_t)pid;
}

static int finish(pid_t pid) {
  int status;
  must(waitpid(pid, &status, 0), "wait");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

static int run(char **args) {
  const char *rootfs = args[0], *name = args[1], *net = args[4];
  char **mounts = args + 5;
  int limits = !strcmp(args[3], "limits"), own_net = strcmp(net, "host") != 0;
  int parents[MOST];
  read_filter(args[2]);
  for (; mounts[count] && count < MOST; count++) {
    parents[count] = open(mounts[count], O_DIRECTORY | O_PATH | O_CLOEXEC);
    must(parents[count], mounts[count]);
    must(mkdirat(parents[count], name, 0755), "make cgroup");
    int dir = openat(parents[count], name, O_DIRECTORY | O_PATH | O_CLOEXEC);
    must(dir, "open cgroup");
    settle(mounts[count], parents[count], dir, limits);
    tasks[count] = openat(dir, "tasks", O_WRONLY | O_CLOEXEC);
    must(tasks[count], "tasks");
    close(dir);
  }
  unsigned long flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
  int join = -1;
  if (net[0] == '/') {
    join = open(net, O_RDONLY | O_CLOEXEC);
    must(join, net);
  } else if (own_net) {
    flags |= CLONE_NEWNET;
  }
  pid_t pid = new_process(flags);
  if (pid == 0) {
    if (join >= 0) must(setns(join, CLONE_NEWNET), "setns");
    container(rootfs, own_net, mounts);
  }
  int code = finish(pid);
  for (int i = 0; i < count; i++) must(unlinkat(parents[i], name, AT_REMOVEDIR), "remove cgroup");
  return code;
}

static int enter(char **args) {
  int pidfd = (int)syscall(SYS_pidfd_open, atoi(args[0]), 0);
  must(pidfd, "pidfd_open");
  const char *name = args[1];
  for (char **mounts = args + 2; mounts[count] && count < MOST; count++) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s/tasks", mounts[count], name);
    tasks[count] = open(path, O_WRONLY | O_CLOEXEC);
    must(tasks[count], path);
  }
  /* The pid namespace is for children: so it is entered before the clone. */
  must(setns(pidfd, CLONE_NEWPID), "setns pid");
  pid_t pid = new_process(0);
  if (pid == 0) {
    for (int i = 0; i < count; i++) must(write(tasks[i], "0", 1), "tasks");
    must(setns(pidfd, CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS), "setns");
    must(setsid(), "setsid");
    must(syscall(SYS_keyctl, 1, "_ses.floor"), "keyctl");
    confine();
    become_true();
  }
  return finish(pid);
}

int main(int argc, char **argv) {
  if (argc > 6 && !strcmp(argv[1], "run")) return run(argv + 2);
  if (argc > 3 && !strcmp(argv[1], "exec")) return enter(argv + 2);
  return 0;
}
