// Package volume tells what a directory lies on: its mount, the file system
// with its options, and the block device below. It reads what the kernel says
// of them, and changes nothing.
package volume

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Mount is one line of /proc/self/mountinfo.
type Mount struct {
	ID      int
	Device  string   // major:minor; the major of a file system without a block device of its own is 0
	At      string   // where it is mounted
	Kind    string   // of the file system: ext4, xfs, tmpfs, ...
	Source  string   // what is mounted, as the file system calls it: a device, a server's export
	Options []string // of this mount
	Super   []string // of the file system, wherever it is mounted
}

// unescape undoes how mountinfo writes mount points.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// Parse reads mountinfo, and passes over lines that it does not understand.
func Parse(mountinfo string) (all []Mount) {
	for line := range strings.Lines(mountinfo) {
		head, tail, ok := strings.Cut(line, " - ")
		fields, rest := strings.Fields(head), strings.Fields(tail)
		if !ok || len(fields) < 6 || len(rest) < 1 {
			continue
		}
		m := Mount{Device: fields[2], At: unescape.Replace(fields[4]), Kind: rest[0], Options: strings.Split(fields[5], ",")}
		m.ID, _ = strconv.Atoi(fields[0])
		if len(rest) > 1 {
			m.Source = unescape.Replace(rest[1])
		}
		if len(rest) > 2 {
			m.Super = strings.Split(rest[2], ",")
		}
		all = append(all, m)
	}
	return all
}

// Find returns the mount that dir is below, an absolute path without symbolic
// links: the deepest one, and of those at the same place the last, which covers
// the others.
func Find(all []Mount, dir string) (found Mount, ok bool) {
	for _, m := range all {
		if Within(m.At, dir) && (!ok || len(m.At) >= len(found.At)) {
			found, ok = m, true
		}
	}
	return found, ok
}

// Within tells whether name is dir or below it; both are clean and absolute.
func Within(dir, name string) bool {
	return name == dir || strings.HasPrefix(name, strings.TrimSuffix(dir, string(filepath.Separator))+string(filepath.Separator))
}

// Has tells whether the mount, or its file system, has the option.
func (m Mount) Has(option string) bool {
	return slices.Contains(m.Options, option) || slices.Contains(m.Super, option)
}

// InMemory tells whether there is no disk below.
func (m Mount) InMemory() bool { return m.Kind == "tmpfs" || m.Kind == "ramfs" }

// Of returns the mount that dir lies on, through whatever symbolic links; false
// where the system does not tell.
func Of(dir string) (Mount, bool) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Mount{}, false
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return Mount{}, false
	}
	return Find(Parse(mountinfo()), dir)
}
