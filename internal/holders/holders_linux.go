package holders

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"holdfast/internal/volume"
)

// Writers returns which of the files in want other processes have open for
// writing. all is false where it may not look into every process.
func Writers(want map[Inode]bool) (held map[Inode]bool, all bool) {
	held = map[Inode]bool{}
	all = others(func(p process) bool {
		dir := p.path("fd")
		open, err := os.ReadDir(dir)
		if err != nil {
			return os.IsNotExist(err) // it has ended meanwhile
		}
		for _, one := range open {
			if i, ok := inodeOf(filepath.Join(dir, one.Name())); ok && want[i] && p.writes(one.Name()) {
				held[i] = true
			}
		}
		return true
	})
	return held, all
}

// Below returns what other processes hold of a directory, or of the volume that
// is mounted right there: files that they have open or mapped, and directories
// that they are in. all is false where there may be others: it may not look into
// every process, and the kernel does not say that the volume is free; or there are
// more than most.
func Below(dir string, most int) (found []Holder, all bool) {
	at, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, false
	}
	h := hunt{dir: at, most: most}
	if top, ok := inodeOf(at); ok {
		above, known := inodeOf(filepath.Dir(at))
		h.device, h.whole = top.Device, known && above.Device != top.Device
	}
	all = others(func(p process) bool { return h.look(p) })
	if busy, known := inUse(at); known && h.whole && len(h.found) == 0 {
		if all = true; busy {
			h.found = []Holder{{Program: "the kernel", What: at}}
		}
	}
	return h.found, all && len(h.found) < most
}

// inUse asks the kernel whether a mounted volume is in use, as umount would; known is
// false for who may not unmount it.
func inUse(at string) (busy, known bool) {
	// It only marks the volume. Another call could unmount it, if nobody
	// has come near it since, as the one behind it does.
	err := unix.Unmount(at, unix.MNT_EXPIRE|unix.UMOUNT_NOFOLLOW)
	_, _ = inodeOf(at)
	return err == unix.EBUSY, err == unix.EBUSY || err == unix.EAGAIN
}

// others calls look for each other process, and tells whether it always returned
// true.
func others(look func(process) bool) bool {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	all, own := true, os.Getpid()
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && pid != own {
			all = look(process(e.Name())) && all
		}
	}
	return all
}

// process is a directory below /proc.
type process string

func (p process) path(name ...string) string {
	return filepath.Join(append([]string{"/proc", string(p)}, name...)...)
}

func inodeOf(path string) (Inode, bool) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return Inode{}, false // closed meanwhile, or no file
	}
	return Inode{st.Dev, st.Ino}, true
}

// writes tells whether a process can write through a descriptor; true where it
// cannot be told.
func (p process) writes(fd string) bool {
	text, err := os.ReadFile(p.path("fdinfo", fd))
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

// hunt looks for who holds something of a directory.
type hunt struct {
	dir    string
	whole  bool // it is a volume's, so that all of the device counts
	device uint64
	most   int
	found  []Holder
}

// look looks at each thread of a process, since they may be in directories of
// their own.
func (h *hunt) look(p process) bool {
	before := len(h.found)
	threads, err := os.ReadDir(p.path("task"))
	if err != nil {
		return os.IsNotExist(err)
	}
	all := true
	for _, t := range threads {
		for _, link := range []string{"cwd", "root"} {
			all = h.link(p, p.path("task", t.Name(), link)) && all
		}
		open, err := os.ReadDir(p.path("task", t.Name(), "fd"))
		if err != nil && !os.IsNotExist(err) {
			return false
		}
		for _, one := range open {
			all = h.link(p, p.path("task", t.Name(), "fd", one.Name())) && all
		}
		if len(h.found) > before || len(h.found) >= h.most {
			return all // one thing of each process is enough
		}
	}
	return h.mapped(p) && all
}

// link looks at one that leads to what is held.
func (h *hunt) link(p process, path string) bool {
	to, err := os.Readlink(path)
	if err != nil {
		return os.IsNotExist(err) || strings.Contains(err.Error(), unix.ESRCH.Error())
	}
	if h.whole {
		if i, ok := inodeOf(path); ok && i.Device == h.device {
			h.add(p, to)
		}
	} else if volume.Within(h.dir, strings.TrimSuffix(to, " (deleted)")) {
		h.add(p, to)
	}
	return true
}

// mapped looks at what of a process's memory is files.
func (h *hunt) mapped(p process) bool {
	text, err := os.ReadFile(p.path("maps"))
	if err != nil {
		return os.IsNotExist(err) || strings.Contains(err.Error(), unix.ESRCH.Error())
	}
	device := fmt.Sprintf("%02x:%02x", unix.Major(h.device), unix.Minor(h.device))
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line) // addresses, mode, offset, device, inode, name
		if len(f) < 6 {
			continue
		}
		if name := strings.Join(f[5:], " "); h.whole && f[3] == device || !h.whole && volume.Within(h.dir, strings.TrimSuffix(name, " (deleted)")) {
			h.add(p, name)
			break
		}
	}
	return true
}

func (h *hunt) add(p process, what string) {
	pid, _ := strconv.Atoi(string(p))
	if n := len(h.found); n > 0 && h.found[n-1].PID == pid || n >= h.most {
		return
	}
	name, _ := os.ReadFile(p.path("comm"))
	h.found = append(h.found, Holder{PID: pid, Program: string(bytes.TrimSpace(name)), What: what})
}
