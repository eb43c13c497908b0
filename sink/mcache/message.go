package mcache

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strconv"
	"strings"

	"holdfast/internal/mcache"
	"holdfast/row"
)

var errReserved = errors.New("names that begin with holdfast_ are reserved in every sink")

// record makes a message of a row. A row of the table of messages is one
// already; any other becomes the table's name and, behind colons, its columns as
// name=value, in their order, or the name alone for NULL.
func (s *Sink) record(r *row.Row) (*mcache.Record, error) {
	if r.Schema.Table == s.opts.Table {
		if m, err := message(r); m != nil || err != nil {
			return m, err
		}
	}
	text := escape(nil, []byte(r.Schema.Table))
	for i, c := range r.Schema.Columns {
		text = escape(append(text, ':'), []byte(c.Name))
		if v := r.Values[i]; !v.Null {
			text = escape(append(text, '='), v.Text)
		}
	}
	return fields(0, append(text, 0))
}

// message returns what the columns flags and msg, or raw, say; nil where none of
// those is there.
func message(r *row.Row) (*mcache.Record, error) {
	var text []byte
	flags, found := uint32(0), false
	for i, c := range r.Schema.Columns {
		v := r.Values[i]
		switch {
		case v.Null:
		case c.Name == "flags":
			n, err := strconv.ParseUint(string(v.Text), 10, 32)
			if err != nil {
				return nil, errors.New("flags is no number from 0 to " + strconv.FormatUint(math.MaxUint32, 10))
			}
			flags = uint32(n)
		case c.Name == "msg":
			text, found = append(bytes.Clone(v.Text), 0), true
		case c.Name == "raw" && !found:
			b, err := hex.DecodeString(string(v.Text))
			if err != nil {
				return nil, errors.New("raw is not hex")
			}
			text, found = b, true
		}
	}
	if !found {
		return nil, nil
	}
	return fields(flags, text)
}

// fields finds where the fields begin: behind each colon. What is beyond the
// last one belongs to it.
func fields(flags uint32, text []byte) (*mcache.Record, error) {
	if len(text) > mcache.MaxMessage {
		return nil, mcache.ErrTooLarge
	}
	m := &mcache.Record{Flags: flags, Message: text}
	end := len(bytes.TrimSuffix(text, []byte{0}))
	k, at := 0, 0
	for k < mcache.Fields {
		m.Offsets[k] = uint16(at)
		k++
		i := bytes.IndexByte(text[at:end], ':')
		if i < 0 {
			break
		}
		at += i + 1
	}
	for ; k < len(m.Offsets); k++ {
		m.Offsets[k] = uint16(end)
	}
	return m, nil
}

const hexDigits = "0123456789ABCDEF"

// escape appends text with what would end a field, or a name, as % and two hex
// digits.
func escape(dst, text []byte) []byte {
	for _, c := range text {
		if c < 0x20 || c == 0x7f || strings.IndexByte("%:=", c) >= 0 {
			dst = append(dst, '%', hexDigits[c>>4], hexDigits[c&15])
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}
