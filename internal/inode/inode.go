// Package inode tells files apart, whatever they are called: by their inode, and
// by when that was made, since a file system uses inodes again.
package inode

import "golang.org/x/sys/unix"

// ID is what a file is, whatever it is called.
type ID struct {
	Inode uint64 `json:"inode"`
	Born  int64  `json:"born,omitempty"` // ns since 1970; 0 where the file system does not tell
}

// File is what the file system tells of a file.
type File struct {
	ID
	Kind    uint32 // the unix.S_IFMT of its mode
	Size    int64
	Changed int64 // when its content was, ns since 1970
	Touched int64 // when anything of it was, its owner and its names among that; nobody can set it
	Links   int
	Device  uint64
}

// Regular tells whether it is a plain file.
func (f *File) Regular() bool { return f.Kind == unix.S_IFREG }

// Link tells whether it is a symbolic link.
func (f *File) Link() bool { return f.Kind == unix.S_IFLNK }
