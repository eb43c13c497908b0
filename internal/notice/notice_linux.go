package notice

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Dirs sends on the channel that it returns when something in one of dirs has
// changed, until stop is called. An error says that only polling helps.
func Dirs(dirs []string) (changed <-chan struct{}, stop func(), err error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, nil, &os.SyscallError{Syscall: "inotify_init1", Err: err}
	}
	f := os.NewFile(uintptr(fd), "inotify")
	for _, dir := range dirs {
		const events = unix.IN_MODIFY | unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE
		if _, err := unix.InotifyAddWatch(fd, dir, events|unix.IN_ONLYDIR); err != nil {
			return nil, nil, &os.PathError{Op: "watch", Path: dir, Err: errors.Join(err, f.Close())}
		}
	}
	ch, over := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(over)
		// What has changed does not matter: all is looked at.
		for buf := make([]byte, 64<<10); ; {
			if _, err := f.Read(buf); err != nil {
				return
			}
			select {
			case ch <- struct{}{}:
			default:
			}
		}
	}()
	return ch, func() {
		_ = f.Close() // it ends Read
		<-over
	}, nil
}
