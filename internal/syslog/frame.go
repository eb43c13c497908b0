package syslog

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// errFraming says that a sender's bytes cannot be divided into messages.
var errFraming = errors.New("framing")

const (
	readBuffer = 8 << 10 // of a connection, bytes
	maxCount   = 7       // digits of a message's length
	keptBuffer = 16 << 10
	// maxSkip is how much of a line that is too long is read on, in bytes, before
	// the connection is given up.
	maxSkip = 16 << 20
)

// frames divides a stream into messages, as RFC 6587 describes both ways: a
// message that begins with a digit is preceded by its length, any other ends
// with a newline. Senders mix them when they are restarted, so each message is
// looked at by itself.
type frames struct {
	in  *bufio.Reader
	max int // bytes of one message
	buf []byte
}

func newFrames(r io.Reader, most int) *frames {
	return &frames{in: bufio.NewReaderSize(r, readBuffer), max: most}
}

// next returns one message, valid until the next call. torn says what it lacks;
// such a message is less than what was sent. io.EOF means that the sender is done.
func (f *frames) next() (text []byte, torn string, err error) {
	if cap(f.buf) > keptBuffer {
		f.buf = nil
	}
	f.buf = f.buf[:0]
	first, err := f.in.Peek(1)
	if err != nil {
		return nil, "", err
	}
	if first[0] >= '1' && first[0] <= '9' {
		return f.counted()
	}
	return f.terminated()
}

// ready reports whether the next message is here already, so that asking for it
// does not wait.
func (f *frames) ready() bool {
	b, _ := f.in.Peek(f.in.Buffered())
	if len(b) == 0 {
		return false
	}
	if b[0] < '1' || b[0] > '9' {
		return bytes.IndexByte(b, '\n') >= 0
	}
	length, body, blank := bytes.Cut(b, []byte(" "))
	n, err := strconv.Atoi(string(length[:min(len(length), maxCount)]))
	return err != nil || blank && len(body) >= n // what is no length is refused at once
}

// counted reads a length, a blank, and as many bytes.
func (f *frames) counted() (text []byte, torn string, err error) {
	n := 0
	for digits := 0; ; digits++ {
		c, err := f.in.ReadByte()
		switch {
		case err != nil:
			return nil, "", noEOF(err)
		case c == ' ':
			return f.body(n)
		case c < '0' || c > '9':
			return nil, "", fmt.Errorf("%w: byte %q in the length of a message", errFraming, c)
		case digits == maxCount:
			return nil, "", fmt.Errorf("%w: the length of a message has more than %d digits", errFraming, maxCount)
		}
		n = 10*n + int(c-'0')
		if n > f.max {
			return nil, "", fmt.Errorf("%w: a message of %d bytes or more, at most %d are taken", errFraming, n, f.max)
		}
	}
}

// body reads n bytes. Memory is taken as they come in, not as they are announced.
func (f *frames) body(n int) (text []byte, torn string, err error) {
	for len(f.buf) < n {
		if f.in.Buffered() == 0 {
			if _, err := f.in.Peek(1); err != nil {
				if len(f.buf) > 0 && err == io.EOF {
					return f.buf, fmt.Sprintf("the connection ended after %d of %d bytes", len(f.buf), n), nil
				}
				return nil, "", noEOF(err)
			}
		}
		piece, _ := f.in.Peek(min(f.in.Buffered(), n-len(f.buf)))
		f.buf = append(f.buf, piece...)
		_, _ = f.in.Discard(len(piece))
	}
	return f.buf, "", nil
}

// terminated reads up to a newline. The last line of a connection may lack it.
func (f *frames) terminated() (text []byte, torn string, err error) {
	for skipped := 0; ; {
		piece, err := f.in.ReadSlice('\n')
		room := f.max - len(f.buf)
		f.buf = append(f.buf, piece[:min(len(piece), max(0, room))]...)
		skipped += max(0, len(piece)-max(0, room))
		switch {
		case err != nil && err != io.EOF && err != bufio.ErrBufferFull:
			return nil, "", err
		case skipped > maxSkip:
			return nil, "", fmt.Errorf("%w: no newline in %d bytes", errFraming, f.max+skipped)
		case err == bufio.ErrBufferFull:
			continue
		case skipped > 1 || skipped == 1 && piece[len(piece)-1] != '\n':
			return f.buf, fmt.Sprintf("it is longer than %d bytes; this is its beginning", f.max), nil
		case err == io.EOF && len(f.buf) == 0:
			return nil, "", io.EOF
		}
		return f.buf, "", nil
	}
}

// noEOF makes the end inside a frame an error of its own.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
