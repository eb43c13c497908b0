//go:build !linux

package flatlog

import "errors"

// watch is not there: files are polled.
func watch([]string) (changed <-chan struct{}, stop func(), err error) {
	return nil, nil, errors.ErrUnsupported
}
