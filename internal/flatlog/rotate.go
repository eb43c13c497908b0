package flatlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"holdfast/internal/fault"
)

// rotated is what came of an order to rotate.
type rotated struct {
	files int
	err   error
}

// Rotate renames the files that writers write to, as far as something is in
// them, and tells the writers to open others. It returns how many were renamed;
// where the writers could not be told they go on in the renamed files, which
// are followed, and they are told again until that works.
func (f *Follower) Rotate(ctx context.Context) (int, error) {
	if f.o.Tell == nil {
		return 0, fault.New(fault.FeatureNotSupported, "nothing is configured that tells the writers to open other files").
			WithHint("add rotate: {rpc: jsonrpc:/run/kamailio/kamailio_rpc.sock} to the source")
	}
	order := make(chan rotated, 1)
	select {
	case f.orders <- order:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-f.ended:
		return 0, fault.New(fault.CannotConnectNow, "the source is closed").WithHint("start the server")
	}
	select {
	case r := <-order:
		return r.files, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-f.ended:
		return 0, fault.New(fault.OutcomeUnknown, "the source was closed meanwhile").WithHint("rotate once more")
	}
}

// tellApart is the time between two rotations: writers note them by the second,
// and lose one that comes in the second of another.
const tellApart = 2 * time.Second

// rotateDue rotates files that are too old or too large.
func (f *Follower) rotateDue(ctx context.Context) error {
	if f.o.Tell == nil || time.Since(f.toldAt) < tellApart {
		return nil
	}
	due := func(one *file) bool {
		old := false
		if f.o.RotateEvery > 0 && one.Born > 0 {
			old = time.Since(time.Unix(0, one.Born)) >= f.o.RotateEvery
		}
		return old || f.o.RotateSize > 0 && one.size >= f.o.RotateSize
	}
	any := f.untold
	for _, one := range f.files {
		any = any || one.live && one.size > 0 && due(one)
	}
	if !any {
		return nil
	}
	if _, err := f.rotate(ctx, due); err != nil {
		f.o.Log.Error("rotate files", "dir", f.o.Dir, "error", err)
		f.remark("rotation: %s", err)
	}
	return nil
}

// rotate renames files, all of them where due is nil, and tells their writers.
func (f *Follower) rotate(ctx context.Context, due func(*file) bool) (n int, err error) {
	stamp := time.Now().UTC().Format("20060102T150405Z")
	var errs []error
	for _, one := range f.files {
		if !one.live || one.size == 0 || due != nil && !due(one) {
			continue
		}
		to, err := rename(one.dir, one.Name, stamp)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		one.Name = to
		one.called(false)
		n++
	}
	if f.untold = f.untold || n > 0; !f.untold {
		return n, errors.Join(errs...)
	}
	f.toldAt = time.Now()
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	if err := f.o.Tell(ctx); err != nil {
		errs = append(errs, fmt.Errorf("%d files are renamed, and their writers, which go on in them, could not be told: %w", n, err))
		return n, errors.Join(errs...)
	}
	f.untold = false
	return n, errors.Join(errs...)
}

// tellTimeout bounds how long writers may take to be told.
const tellTimeout = 10 * time.Second

// rename gives a file a name that is free. No writer makes such names, so none
// comes in between.
func rename(dir, name, stamp string) (string, error) {
	to := name + "." + stamp
	for n := 1; ; n++ {
		_, err := os.Lstat(filepath.Join(dir, to))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil || n > 1000 {
			return "", fmt.Errorf("find a name for %q: %w", filepath.Join(dir, name), err)
		}
		to = fmt.Sprintf("%s.%s-%d", name, stamp, n)
	}
	return to, os.Rename(filepath.Join(dir, name), filepath.Join(dir, to))
}
