package holders

// Inode is a file of any file system.
type Inode struct{ Device, Number uint64 }

// Holder is a process that holds something of a directory.
type Holder struct {
	PID     int    `json:"pid"`
	Program string `json:"program"`
	What    string `json:"what"` // a file, or a directory, of it
}
