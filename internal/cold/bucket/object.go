package bucket

import (
	"context"
	"io"
	"sync"

	"github.com/minio/minio-go/v7"
)

const (
	// firstWindow is how much is asked for where reading begins anew: what follows
	// is asked for in windows that grow, so that whoever reads on makes few requests.
	firstWindow = 256 << 10
	maxWindow   = 64 << 20
)

// object is one object that is read. What is read is the object as it was when it
// was opened, or an error.
type object struct {
	b    *Bucket
	name string
	size int64
	etag string

	mu     sync.Mutex
	body   io.ReadCloser // what is being read; nil: nothing
	cancel context.CancelFunc
	at     int64 // where body is
	end    int64 // where it ends
	window int64
}

// Size implements cold.File.
func (o *object) Size() (int64, error) { return o.size, nil }

// Close implements cold.File.
func (o *object) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.drop()
	return nil
}

// drop ends what is being read.
func (o *object) drop() {
	if o.body != nil {
		_ = o.body.Close() // what is left of it is not wanted
		o.cancel()
		o.body = nil
	}
}

// ReadAt implements cold.File.
func (o *object) ReadAt(p []byte, off int64) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	want := p[:max(0, min(int64(len(p)), o.size-off))]
	done := 0
	for done < len(want) {
		if err := o.seek(off+int64(done), int64(len(want)-done)); err != nil {
			return done, err
		}
		n, err := o.body.Read(want[done:min(len(want), done+int(o.end-o.at))])
		o.at, done = o.at+int64(n), done+n
		if err != nil && o.at < o.end {
			o.drop()
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return done, o.b.blame("read "+o.name+" in", err)
		}
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// seek sees that at least one byte at off can be read, of n that are wanted.
func (o *object) seek(off, n int64) error {
	if o.body != nil && o.at == off && o.at < o.end {
		return nil
	}
	if o.body != nil && o.at == off || o.body == nil && o.window > 0 && o.at == off {
		o.window = min(4*o.window, maxWindow)
	} else {
		o.window = firstWindow
	}
	o.drop()
	o.at, o.end = off, min(o.size, off+max(n, o.window))
	opts := minio.GetObjectOptions{}
	if err := opts.SetRange(o.at, o.end-1); err != nil {
		return err
	}
	if o.etag != "" {
		if err := opts.SetMatchETag(o.etag); err != nil {
			return err
		}
	}
	ctx, cancel := o.b.within(o.end - o.at)
	body, _, header, err := o.b.core.GetObject(ctx, o.b.o.Bucket, o.b.prefix+o.name, opts)
	if err != nil {
		cancel()
		return o.b.blame("read "+o.name+" in", err)
	}
	if header.Get("Content-Range") == "" && (o.at > 0 || o.end < o.size) {
		_ = body.Close()
		cancel()
		return o.b.blame("read "+o.name+" in", errNoRanges)
	}
	o.body, o.cancel = body, cancel
	return nil
}
