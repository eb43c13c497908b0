package flatlog

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// inode is a file of any file system.
type inode struct{ device, number uint64 }

// holders returns which of the files in want other processes have open for
// writing. all is false where it may not look into every process.
func holders(want map[inode]bool) (held map[inode]bool, all bool) {
	held, all = map[inode]bool{}, true
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return held, false
	}
	own := os.Getpid()
	for _, p := range processes {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || pid == own {
			continue
		}
		dir := filepath.Join("/proc", p.Name(), "fd")
		open, err := os.ReadDir(dir)
		if err != nil {
			all = all && os.IsNotExist(err) // it has ended meanwhile
			continue
		}
		for _, one := range open {
			info, err := os.Stat(filepath.Join(dir, one.Name()))
			if err != nil {
				continue // closed meanwhile, or no file
			}
			st, ok := info.Sys().(*syscall.Stat_t)
			if !ok {
				continue
			}
			if i := (inode{uint64(st.Dev), uint64(st.Ino)}); want[i] && writes(p.Name(), one.Name()) {
				held[i] = true
			}
		}
	}
	return held, all
}

// writes tells whether a process can write through a descriptor; true where it
// cannot be told.
func writes(pid, fd string) bool {
	text, err := os.ReadFile(filepath.Join("/proc", pid, "fdinfo", fd))
	if err != nil {
		return true
	}
	for line := range bytes.Lines(text) {
		octal, ok := bytes.CutPrefix(line, []byte("flags:"))
		if !ok {
			continue
		}
		flags, err := strconv.ParseUint(string(bytes.TrimSpace(octal)), 8, 64)
		return err != nil || flags&syscall.O_ACCMODE != syscall.O_RDONLY
	}
	return true
}
