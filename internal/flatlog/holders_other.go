//go:build !linux

package flatlog

// inode is a file of any file system.
type inode struct{ device, number uint64 }

// holders cannot be told here.
func holders(map[inode]bool) (held map[inode]bool, all bool) { return map[inode]bool{}, false }
