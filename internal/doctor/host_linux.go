package doctor

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// unsynchronised is STA_UNSYNC of adjtimex(2).
const unsynchronised = 0x40

func kernelClock() (Clock, error) {
	var t unix.Timex // zero modes: it only asks
	if _, err := unix.Adjtimex(&t); err != nil {
		return Clock{}, fmt.Errorf("ask the kernel for its clock: %w", err)
	}
	return Clock{Now: time.Now(), Synced: t.Status&unsynchronised == 0}, nil
}

// opensDirect tells whether the file system opens a file with O_DIRECT.
func opensDirect(name string) bool {
	f, err := os.OpenFile(name, os.O_RDWR|syscall.O_DIRECT, 0)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

// allocates tells whether room can be reserved in a file without writing it.
func allocates(name string) bool {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, 1<<20) == nil
}

// holder returns who holds an flock on the file, by what the kernel lists, so
// that nobody is kept from taking it in this moment; 0 where the holder is in
// another world of processes.
func holder(locks, name string) (pid int, held bool) {
	var st unix.Stat_t
	if unix.Stat(name, &st) != nil {
		return 0, false
	}
	want := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	for line := range strings.Lines(locks) {
		// 1: FLOCK  ADVISORY  WRITE 1234 fe:00:4711 0 EOF
		if f := strings.Fields(line); len(f) >= 6 && f[1] == "FLOCK" && f[5] == want {
			pid, _ = strconv.Atoi(f[4])
			return max(pid, 0), true
		}
	}
	return 0, false
}
