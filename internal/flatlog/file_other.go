//go:build !linux

package flatlog

import (
	"os"
	"path/filepath"
	"syscall"
)

// look tells of a file below the directory dir without following links.
func look(dir *os.File, name string) (seen, error) {
	info, err := os.Lstat(filepath.Join(dir.Name(), name))
	if err != nil {
		return seen{}, err
	}
	return seenOf(info), nil
}

// lookAt tells of a file that is open.
func lookAt(f *os.File) (seen, error) {
	info, err := f.Stat()
	if err != nil {
		return seen{}, err
	}
	return seenOf(info), nil
}

func seenOf(info os.FileInfo) seen {
	s := seen{regular: info.Mode().IsRegular(), size: info.Size(), changed: info.ModTime().UnixNano(), links: 1}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.Inode, s.links, s.device = uint64(st.Ino), int(st.Nlink), uint64(st.Dev)
	}
	return s
}
