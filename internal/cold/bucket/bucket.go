// Package bucket keeps a cold tier in a bucket of a server that speaks S3.
//
// Each file is one object, put by one request: it is there whole or not at all,
// and an upload that ended in the middle leaves nothing behind. The request is
// signed with the digest of what is sent, so that the server refuses anything else.
package bucket

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"holdfast/internal/cold"
)

// Options say where a bucket is, and how it is reached.
type Options struct {
	Bucket   string
	Prefix   string               // of all names; a slash is put behind it
	Endpoint string               // host, or host:port
	Plain    bool                 // no TLS
	Region   string               // that requests are signed for
	CA       []byte               // PEM of who signs the server's certificate; nil: whom the machine trusts
	Keys     func() (Keys, error) // asked now and then, so that keys can change; none: those of the machine's role
	Stall    time.Duration        // how long the server may be silent; 0: half a minute
}

// Keys are what requests are signed with. They are never printed.
type Keys struct{ ID, Secret, Token string }

// String implements fmt.Stringer, and tells nothing.
func (Keys) String() string { return "(keys)" }

// GoString implements fmt.GoStringer, and tells nothing.
func (Keys) GoString() string { return "(keys)" }

const (
	// patience is how long a server may be silent.
	patience = 30 * time.Second
	// slowest is the rate below which a request is given up: a file that takes
	// hours is not copied, and its stream would wait for it.
	slowest = 32 << 10 // bytes per second
	// tries is how often a request is made that sends no file. One that does is
	// made once: whoever puts tries again, and waits longer each time.
	tries = 2
)

// Bucket is a cold tier in a bucket.
type Bucket struct {
	o      Options
	core   *minio.Core
	net    *http.Transport
	prefix string
	base   context.Context // ends when the bucket is given up
	end    context.CancelFunc
}

var (
	_ cold.Store       = (*Bucket)(nil)
	_ cold.Interrupter = (*Bucket)(nil)
)

// Open returns the bucket without asking the server for anything.
func Open(o Options) (*Bucket, error) {
	if o.Stall <= 0 {
		o.Stall = patience
	}
	t, err := transport(o.CA, o.Stall)
	if err != nil {
		return nil, err
	}
	core, err := minio.NewCore(o.Endpoint, &minio.Options{
		Creds: credentials.New(newProvider(o)), Secure: !o.Plain, Transport: t, Region: o.Region, MaxRetries: tries,
	})
	if err != nil {
		return nil, fmt.Errorf("reach bucket %q at %q: %w", o.Bucket, o.Endpoint, err)
	}
	b := &Bucket{o: o, core: core, net: t}
	if p := strings.Trim(o.Prefix, "/"); p != "" {
		b.prefix = p + "/"
	}
	b.base, b.end = context.WithCancel(context.Background())
	return b, nil
}

// Where implements cold.Store.
func (b *Bucket) Where() string { return "s3://" + b.o.Bucket + "/" + b.prefix }

// Interrupt implements cold.Interrupter.
func (b *Bucket) Interrupt() { b.end() }

// Close implements cold.Store.
func (b *Bucket) Close() error {
	b.end()
	b.net.CloseIdleConnections()
	return nil
}

// within bounds a request that carries n bytes.
func (b *Bucket) within(n int64) (context.Context, context.CancelFunc) {
	return context.WithTimeout(b.base, (tries+1)*b.o.Stall+time.Duration(n/slowest)*time.Second)
}

// Used implements cold.Store. What is in the bucket is not counted: that would take
// a request per thousand files.
func (b *Bucket) Used() (bytes, size int64, err error) {
	ctx, cancel := context.WithTimeout(b.base, b.o.Stall)
	defer cancel()
	ok, err := b.core.BucketExists(ctx, b.o.Bucket)
	if err == nil && !ok {
		err = minio.ErrorResponse{Code: minio.NoSuchBucket, StatusCode: http.StatusNotFound, Message: "the bucket does not exist"}
	}
	return 0, 0, b.blame("look at", err)
}

// Put implements cold.Store. What is to be sent is made twice: once to know its
// size and digest, which the request begins with, and once to send it, so that it
// is never in memory, nor on a disk that has no room.
func (b *Bucket) Put(name string, replace bool, fill func(io.Writer) error) error {
	if !replace { // a server may not know conditional requests
		switch f, err := b.Open(name); {
		case err == nil:
			return errors.Join(fmt.Errorf("%q: %w", b.Where()+name, fs.ErrExist), f.Close())
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	m := &measure{hash: sha256.New()}
	if err := fill(m); err != nil {
		return err
	}
	ctx, cancel := b.within(m.n)
	defer cancel()
	from, to := io.Pipe()
	s := &sender{to: to}
	done := make(chan error, 1)
	go func() {
		err := fill(s)
		_ = to.CloseWithError(err) // never fails
		done <- err
	}()
	sum := m.hash.Sum(nil)
	opts := minio.PutObjectOptions{
		ContentType:          contentType(name),
		DisableContentSha256: true, // of parts, without which the digest of the whole is signed
		UserMetadata:         map[string]string{"x-amz-checksum-sha256": base64.StdEncoding.EncodeToString(sum)},
	}
	if !replace {
		opts.SetMatchETagExcept("*")
	}
	_, err := b.core.PutObject(ctx, b.o.Bucket, b.prefix+name, from, m.n, "", hex.EncodeToString(sum), opts)
	_ = from.CloseWithError(errEnded) // never fails
	if ferr := <-done; ferr != nil && s.err == nil {
		return ferr // what was to be put is at fault
	}
	if minio.ToErrorResponse(err).StatusCode == http.StatusPreconditionFailed && !replace {
		return fmt.Errorf("%q: %w", b.Where()+name, fs.ErrExist)
	}
	return b.blame("put "+name+" into", err)
}

// errEnded tells who makes what is sent that nobody takes it any more.
var errEnded = errors.New("the request has ended")

func contentType(name string) string {
	if path.Ext(name) == ".json" {
		return "application/json"
	}
	return "application/zstd"
}

// measure counts and digests what is written.
type measure struct {
	hash hash.Hash
	n    int64
}

// Write implements io.Writer.
func (m *measure) Write(p []byte) (int, error) {
	m.n += int64(len(p))
	return m.hash.Write(p)
}

// sender hands over what is sent, and knows when nobody takes it any more.
type sender struct {
	to  *io.PipeWriter
	err error
}

// Write implements io.Writer.
func (s *sender) Write(p []byte) (int, error) {
	n, err := s.to.Write(p)
	if err != nil {
		s.err = err
	}
	return n, err
}

// Open implements cold.Store.
func (b *Bucket) Open(name string) (cold.File, error) {
	ctx, cancel := b.within(0)
	defer cancel()
	info, err := b.core.StatObject(ctx, b.o.Bucket, b.prefix+name, minio.StatObjectOptions{})
	if err != nil {
		return nil, b.blame("look for "+name+" in", err)
	}
	return &object{b: b, name: name, size: info.Size, etag: info.ETag}, nil
}

// Match returns the names of what is there that a pattern with * and ? fits.
func (b *Bucket) Match(pattern string) (names []string, err error) {
	ctx, cancel := b.within(0)
	defer cancel()
	begin, _, _ := strings.Cut(pattern, "*")
	begin, _, _ = strings.Cut(begin, "?")
	begin, _, _ = strings.Cut(begin, "[")
	for info := range b.core.ListObjectsIter(ctx, b.o.Bucket, minio.ListObjectsOptions{Prefix: b.prefix + begin}) {
		if info.Err != nil {
			return nil, b.blame("list", info.Err)
		}
		name := strings.TrimPrefix(info.Key, b.prefix)
		if ok, err := path.Match(pattern, name); err != nil {
			return nil, err
		} else if ok {
			names = append(names, name)
		}
	}
	return names, b.blame("list", ctx.Err())
}
