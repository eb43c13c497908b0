package doctor

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Host is the machine that is looked at. The zero Host is this one; a test puts
// a tree of its own in the place of what cannot be broken for a test.
type Host struct {
	Root  string                // below it /etc, /usr/lib and /run are read; "" is /
	Proc  string                // "" is /proc
	Sys   string                // "" is /sys
	Clock func() (Clock, error) // nil asks the kernel
}

// Clock is what the kernel says of its clock.
type Clock struct {
	Now    time.Time
	Synced bool // some program keeps it right
}

func (h *Host) proc(parts ...string) string {
	return filepath.Join(append([]string{or(h.Proc, "/proc")}, parts...)...)
}

func (h *Host) sys() string { return or(h.Sys, "/sys") }

func or(word, other string) string {
	if word != "" {
		return word
	}
	return other
}

func (h *Host) clock() (Clock, error) {
	if h.Clock != nil {
		return h.Clock()
	}
	return kernelClock()
}

// maxText bounds what is read of one of the system's files, in bytes.
const maxText = 4 << 20

// text reads a file of the system; "" where it is not there, or may not be read.
func text(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	all, err := io.ReadAll(io.LimitReader(f, maxText))
	if err != nil {
		return ""
	}
	return string(all)
}

// etc reads a file below Root; "" where it is not there.
func (h *Host) etc(name string) string { return text(filepath.Join(or(h.Root, "/"), name)) }

// glob returns the files below Root that fit pattern, without Root.
func (h *Host) glob(pattern string) []string {
	root := filepath.Clean(or(h.Root, "/"))
	found, err := filepath.Glob(filepath.Join(root, pattern))
	if err != nil {
		return nil
	}
	for i, name := range found {
		found[i] = "/" + strings.TrimPrefix(strings.TrimPrefix(name, root), "/")
	}
	return found
}
