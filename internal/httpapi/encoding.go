package httpapi

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/zstd"

	"holdfast/internal/fault"
)

const (
	// defaultBody is how many bytes the rows of one request may have, unpacked:
	// as many as a transaction.
	defaultBody = 1 << 30
	// smallWindow is how far back a zstd body may refer without a token; what
	// every body may take of memory. largeWindow is what RFC 9659 asks of those
	// who take zstd over HTTP, and what a body with a token may take.
	smallWindow, largeWindow = 1 << 20, 8 << 20
)

// encodings are those that a body may have, as an answer names them.
const encodings = "gzip, zstd"

// openBody returns the body as it was before it was packed. The caller closes
// it. What is read from it ends with a fault where it is not what it says, or
// longer than a.o.MaxBody.
func (a *API) openBody(w http.ResponseWriter, r *http.Request) (*unpacked, error) {
	from := newPatient(w, r.Body)
	raw := &wire{r: from}
	coding := strings.ToLower(strings.TrimSpace(strings.Join(r.Header.Values("Content-Encoding"), ",")))
	b := &unpacked{coding: coding, wire: raw, from: from, left: a.o.MaxBody, max: a.o.MaxBody}
	switch coding {
	case "", "identity":
		b.coding, b.r = "", raw
	case "gzip", "x-gzip":
		b.open = func() (io.Reader, error) { return gzip.NewReader(raw) }
	case "zstd":
		b.open = func() (io.Reader, error) { return b.openZstd(r.Context(), a.windows) }
	default:
		w.Header().Set("Accept-Encoding", encodings)
		w.Header().Set("Connection", "close") // the body is not read
		return nil, unreadable("send it as it is, or packed once, with gzip or zstd", "content encoding %q is not taken", coding)
	}
	return b, nil
}

// wire is a packed body as it arrives. It remembers why it ended, so that a
// connection that broke is not called a bad body.
type wire struct {
	r   io.Reader
	err error
}

// Read reads.
func (p *wire) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if err != nil {
		p.err = err
	}
	return n, err
}

// unpacked is a body without its encoding. It never gives more than max bytes.
type unpacked struct {
	coding string // "" where it was not packed
	wire   *wire
	from   *patient                  // what wire reads
	open   func() (io.Reader, error) // called at the first Read; nil: r is there
	r      io.Reader
	left   int64
	max    int64
	err    error // what ended it
	close  []func()
}

// Read reads. Unpacking goes no further than the bytes that are asked for, so
// a small body that unpacks to a huge one costs what is read of it.
func (u *unpacked) Read(p []byte) (n int, err error) {
	if u.err == nil {
		n, u.err = u.read(p)
	}
	return n, u.err
}

func (u *unpacked) read(p []byte) (int, error) {
	if u.r == nil {
		r, err := u.open()
		if err != nil {
			return 0, u.explain(err)
		}
		u.r = r
	}
	if int64(len(p)) > u.left+1 {
		p = p[:u.left+1]
	}
	n, err := u.r.Read(p)
	if int64(n) > u.left {
		return 0, fault.New(fault.LimitExceeded, "the body has more than %d bytes", u.max).
			WithHint("send fewer rows in one request; http: {max_body: ...} in the configuration is the bound")
	}
	u.left -= int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		err = u.explain(err)
	}
	return n, err
}

// explain tells a body that cannot be unpacked from one that did not arrive.
func (u *unpacked) explain(err error) error {
	var refusal *fault.Error
	switch {
	case errors.As(err, &refusal):
		return err
	case u.coding == "" || u.wire.err != nil && !errors.Is(u.wire.err, io.EOF):
		return err
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return fault.New(fault.LimitExceeded, "the zstd body needs a window of more than %d MiB", largeWindow>>20).
			WithHint("pack it without --ultra and --long, in one frame")
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return fault.New(fault.ProtocolViolation, "the %s body ends early", u.coding).Because(io.ErrUnexpectedEOF)
	}
	return fault.New(fault.ProtocolViolation, "the body cannot be unpacked as %s", u.coding).Because(err).
		WithHint("pack it again, or send it as it is")
}

// openZstd makes the reader of a zstd body. What it takes of memory is told by
// its first frame; a large one needs a token.
func (u *unpacked) openZstd(ctx context.Context, windows chan struct{}) (io.Reader, error) {
	in := bufio.NewReader(u.wire)
	head, err := in.Peek(zstd.HeaderMaxSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var h zstd.Header
	window := uint64(smallWindow)
	if h.Decode(head) == nil && (h.WindowSize > smallWindow || h.SingleSegment && h.FrameContentSize > smallWindow) {
		window = largeWindow
		select {
		case windows <- struct{}{}:
			u.close = append(u.close, func() { <-windows })
			u.from.hurry()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(window), zstd.WithDecodeBuffersBelow(0))
	if err == nil {
		u.close = append(u.close, z.Close)
	}
	return z, err
}

// Close gives up what unpacking took. Idempotent.
func (u *unpacked) Close() error {
	for _, f := range u.close {
		f()
	}
	u.close = nil
	return nil
}
