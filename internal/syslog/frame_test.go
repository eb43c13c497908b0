package syslog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestFrames holds how a stream is divided into messages, also where it comes in
// byte by byte, and what is refused.
func TestFrames(t *testing.T) {
	const most = 40
	long := strings.Repeat("x", most)
	for _, test := range []struct {
		in   string
		want string // messages, each followed by |; a torn one by ! and why
		err  error
	}{
		{"5 <1>ab6 <2>cd\n", "<1>ab|<2>cd\n|", io.EOF},
		{"<1>ab\n<2>cd\n", "<1>ab\n|<2>cd\n|", io.EOF},
		{"<1>ab\n7 <2>c\nd\n<3>ef", "<1>ab\n|<2>c\nd\n|<3>ef|", io.EOF},
		{"40 " + long + "<1>ab\n", long + "|<1>ab\n|", io.EOF},
		{long + "\n<1>ab\n", long + "|<1>ab\n|", io.EOF},
		{long + "xy\n<1>ab\n", long + "!it is longer than 40 bytes; this is its beginning|<1>ab\n|", io.EOF},
		{long + "xy", long + "!it is longer than 40 bytes; this is its beginning|", io.EOF},
		{"20 <1>ab", "<1>ab!the connection ended after 5 of 20 bytes|", io.EOF},
		{"20 ", "", io.ErrUnexpectedEOF},
		{"2", "", io.ErrUnexpectedEOF},
		{"41 " + long, "", errFraming},
		{"99999999999 x", "", errFraming},
		{"00000000000000000000000000000000000000001 x", "00000000000000000000000000000000000000001 x"[:40] + "!it is longer than 40 bytes; this is its beginning|", io.EOF}, // no length begins with 0
		{"10000000 x", "", errFraming},
		{"1x2 ab", "", errFraming},
		{"", "", io.EOF},
	} {
		for _, slow := range []bool{false, true} {
			var in io.Reader = strings.NewReader(test.in)
			if slow {
				in = iotest.OneByteReader(in)
			}
			f := newFrames(in, most)
			got, err := all(f)
			if got != test.want || !errors.Is(err, test.err) {
				t.Errorf("%q, slow %v: got %q and %v, want %q and %v", test.in, slow, got, err, test.want, test.err)
			}
		}
	}
}

func all(f *frames) (out string, err error) {
	for {
		text, torn, err := f.next()
		if err != nil {
			return out, err
		}
		out += string(text)
		if torn != "" {
			out += "!" + torn
		}
		out += "|"
	}
}

// endless never ends a line.
type endless struct{ read int }

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	e.read += len(b)
	return len(b), nil
}

// TestEndlessLine holds that a line without end is given up after a bounded
// amount, with bounded memory.
func TestEndlessLine(t *testing.T) {
	e := &endless{}
	f := newFrames(e, 1<<10)
	if _, _, err := f.next(); !errors.Is(err, errFraming) || e.read > 2*maxSkip || cap(f.buf) > 1<<16 {
		t.Errorf("got %v after %d bytes with a buffer of %d", err, e.read, cap(f.buf))
	}
}

// FuzzFrames holds that no stream stops the division into messages, that none is longer
// than the limit, and that what is framed well comes out as it was.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("5 <1>ab6 <2>cd\n<3>x"))
	f.Add([]byte("99999999999 x"))
	f.Add([]byte("x\n\n1x"))
	f.Fuzz(func(t *testing.T, in []byte) {
		const most = 64
		r := newFrames(bytes.NewReader(in), most)
		total := 0
		for {
			text, _, err := r.next()
			if err != nil {
				break
			}
			if total += len(text); len(text) > most || total > len(in) {
				t.Fatalf("%q: a message of %d bytes", in, len(text))
			}
		}
		if len(in) > 0 && len(in) <= most {
			framed := fmt.Sprintf("%d %s", len(in), in)
			got, torn, err := newFrames(strings.NewReader(framed), most).next()
			if err != nil || torn != "" || !bytes.Equal(got, in) {
				t.Fatalf("%q: got %q, %q, %v", framed, got, torn, err)
			}
		}
	})
}
