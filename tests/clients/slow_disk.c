/* Makes a program's disk slow while a file is there: to be loaded into it (LD_PRELOAD). SLOW_DISK names the file. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { NANOSECONDS = 700 * 1000 * 1000 };

static void wait_if_slow(void) {
    const char *file = getenv("SLOW_DISK");
    if (file != NULL && access(file, F_OK) == 0)
        nanosleep(&(struct timespec){.tv_nsec = NANOSECONDS}, NULL);
}

int fsync(int descriptor) {
    wait_if_slow();
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(descriptor);
}

int fdatasync(int descriptor) {
    wait_if_slow();
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(descriptor);
}
