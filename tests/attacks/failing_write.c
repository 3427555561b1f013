// Lets the n-th call that writes below a folder fail, and all after it, as on a full disk (or, EIO, a broken one).
//   cc -shared -fPIC -O1 -o failing_write.so failing_write.c -ldl
//   LD_PRELOAD=./failing_write.so FAIL_BELOW=/data FAIL_AT=17 FAIL_WITH=28 command
// FAIL_AT=0 fails nothing; FAIL_COUNT names a file that gets a byte for each call, of all processes together.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int below(const char* path) {
  const char* folder = getenv("FAIL_BELOW");
  char whole[4200];
  if (!folder || !path) return 0;
  if (path[0] != '/') {
    if (!getcwd(whole, 2000)) return 0;
    strcat(whole, "/");
    strncat(whole, path, 2000);
    path = whole;
  }
  return strncmp(path, folder, strlen(folder)) == 0;
}

static int fd_below(int fd) {
  char link[64], path[4200];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t size = readlink(link, path, sizeof path - 1);
  if (size <= 0) return 0;
  path[size] = 0;
  return below(path);
}

static int fails(void) {      // whether this call is the one, or after it
  const char *at = getenv("FAIL_AT"), *count = getenv("FAIL_COUNT"), *with = getenv("FAIL_WITH");
  if (!at || !count) return 0;
  int fd = syscall(SYS_openat, AT_FDCWD, count, O_WRONLY | O_CREAT | O_APPEND, 0644);
  if (fd < 0) return 0;
  syscall(SYS_write, fd, ".", 1);
  long number = syscall(SYS_lseek, fd, 0, SEEK_END);
  syscall(SYS_close, fd);
  if (atol(at) == 0 || number < atol(at)) return 0;
  errno = with ? atoi(with) : ENOSPC;
  return 1;
}

#define REAL(result, name, ...) \
  static result (*real)(__VA_ARGS__); \
  if (!real) real = (result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

ssize_t write(int fd, const void* data, size_t size) {
  REAL(ssize_t, "write", int, const void*, size_t);
  return fd > 2 && fd_below(fd) && fails() ? -1 : real(fd, data, size);
}
ssize_t pwrite64(int fd, const void* data, size_t size, off64_t at) {
  REAL(ssize_t, "pwrite64", int, const void*, size_t, off64_t);
  return fd_below(fd) && fails() ? -1 : real(fd, data, size, at);
}
ssize_t pwrite(int fd, const void* data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }
ssize_t writev(int fd, const struct iovec* parts, int count) {
  REAL(ssize_t, "writev", int, const struct iovec*, int);
  return fd > 2 && fd_below(fd) && fails() ? -1 : real(fd, parts, count);
}
ssize_t pwritev(int fd, const struct iovec* parts, int count, off_t at) {
  REAL(ssize_t, "pwritev", int, const struct iovec*, int, off_t);
  return fd_below(fd) && fails() ? -1 : real(fd, parts, count, at);
}
int fsync(int fd) {
  REAL(int, "fsync", int);
  return fd_below(fd) && fails() ? -1 : real(fd);
}
int fdatasync(int fd) {
  REAL(int, "fdatasync", int);
  return fd_below(fd) && fails() ? -1 : real(fd);
}
int ftruncate64(int fd, off64_t size) {
  REAL(int, "ftruncate64", int, off64_t);
  return fd_below(fd) && fails() ? -1 : real(fd, size);
}
int posix_fallocate64(int fd, off64_t at, off64_t size) {
  REAL(int, "posix_fallocate64", int, off64_t, off64_t);
  if (fd_below(fd) && fails()) { int error = errno; return error; }
  return real(fd, at, size);
}
int posix_fallocate(int fd, off_t at, off_t size) { return posix_fallocate64(fd, at, size); }
int rename(const char* from, const char* to) {
  REAL(int, "rename", const char*, const char*);
  return below(to) && fails() ? -1 : real(from, to);
}
int mkdir(const char* path, mode_t mode) {
  REAL(int, "mkdir", const char*, mode_t);
  return below(path) && fails() ? -1 : real(path, mode);
}

#define OPEN(name) \
  int name(const char* path, int flags, ...) { \
    REAL(int, #name, const char*, int, ...); \
    va_list more; \
    va_start(more, flags); \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
    va_end(more); \
    return flags & O_CREAT && below(path) && fails() ? -1 : real(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)

int openat64(int folder, const char* path, int flags, ...) {
  REAL(int, "openat64", int, const char*, int, ...);
  va_list more;
  va_start(more, flags);
  mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
  va_end(more);
  int there = path[0] == '/' ? below(path) : folder != AT_FDCWD && fd_below(folder);
  return flags & O_CREAT && there && fails() ? -1 : real(folder, path, flags, mode);
}
