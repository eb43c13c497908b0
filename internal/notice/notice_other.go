//go:build !linux

package notice

import "errors"

// Dirs is not there: files are polled.
func Dirs([]string) (changed <-chan struct{}, stop func(), err error) {
	return nil, nil, errors.ErrUnsupported
}
