package pgwire

import (
	"encoding/binary"
	"strconv"

	"holdfast/internal/fault"
	"holdfast/row"
)

// copySignature opens the data of a binary COPY.
const copySignature = "PGCOPY\n\xff\r\n\x00"

// binaryReader takes the data of a binary COPY apart. Columns are read by
// their declared types.
type binaryReader struct {
	c       *copyIn
	oids    []uint32
	pending []byte // what is not a whole row yet
	headed  bool   // the header was read
	over    bool   // the trailer was read
	values  []row.Value
	text    []byte
}

func newBinaryReader(c *copyIn) (*binaryReader, error) {
	r := &binaryReader{c: c}
	for _, col := range c.t.columns {
		oid := typeOf(col.Type).oid()
		if oid == 0 {
			return nil, fault.New(fault.FeatureNotSupported, "column %q of table %q has the type %q, whose binary form is not known", col.Name, c.t.table, col.Type).
				WithHint("use COPY in format text or csv")
		}
		r.oids = append(r.oids, oid)
	}
	return r, nil
}

func (r *binaryReader) data(b []byte) error {
	if r.over {
		return fault.New(fault.BadCopyFormat, "received copy data after EOF marker")
	}
	if len(r.pending) > 0 {
		r.pending = append(r.pending, b...)
		b = r.pending
	}
	rest, err := r.rows(b)
	if err != nil {
		return err
	}
	r.pending = append(r.pending[:0], rest...)
	if len(r.pending) > maxMessage {
		return fault.New(fault.LimitExceeded, "a row of COPY has more than %d bytes", maxMessage)
	}
	return r.c.hold(cap(r.pending))
}

// rows reads what b has of whole rows, and returns the rest.
func (r *binaryReader) rows(b []byte) ([]byte, error) {
	if !r.headed {
		rest, err := r.header(b)
		if err != nil || !r.headed {
			return b, err
		}
		b = rest
	}
	for len(b) >= 2 && !r.over {
		rest, whole, err := r.row(b)
		if err != nil {
			return nil, err
		}
		if !whole {
			break
		}
		b = rest
	}
	if r.over && len(b) > 0 {
		return nil, fault.New(fault.BadCopyFormat, "received copy data after EOF marker")
	}
	return b, nil
}

// header reads the signature, the flags and the extension.
func (r *binaryReader) header(b []byte) ([]byte, error) {
	n := len(copySignature)
	if k := min(n, len(b)); string(b[:k]) != copySignature[:k] {
		return nil, fault.New(fault.BadCopyFormat, "COPY file signature not recognized")
	}
	if len(b) < n+8 {
		return b, nil
	}
	flags, extension := binary.BigEndian.Uint32(b[n:]), binary.BigEndian.Uint32(b[n+4:])
	if flags&0xFFFF0000 != 0 || extension > maxSmall {
		return nil, fault.New(fault.BadCopyFormat, "COPY header has flags %#x and an extension of %d bytes, which are not known", flags, extension)
	}
	if b = b[n+8:]; len(b) < int(extension) {
		return b, nil
	}
	r.headed = true
	return b[extension:], nil
}

// row reads one row, if b has all of it.
func (r *binaryReader) row(b []byte) (rest []byte, whole bool, err error) {
	n := int(int16(binary.BigEndian.Uint16(b)))
	w := &wire{b: b[2:]}
	if n == -1 {
		r.over = true
		return w.b, true, nil
	}
	if n != len(r.oids) {
		r.c.line = r.c.rows + 1
		return nil, false, fault.New(fault.BadCopyFormat, "row field count is %d, expected %d", n, len(r.oids))
	}
	for range r.oids { // is all of it there?
		size := w.int32()
		if size < -1 && !w.bad {
			r.c.line = r.c.rows + 1
			return nil, false, fault.New(fault.BadCopyFormat, "invalid field size %d", size)
		}
		if size > 0 {
			w.take(int(size))
		}
		if w.bad {
			return b, false, nil
		}
	}
	w = &wire{b: b[2:]}
	r.values, r.text = r.values[:0], r.text[:0]
	for i, oid := range r.oids {
		size := w.int32()
		if size == -1 {
			r.values = append(r.values, row.Null)
			continue
		}
		mark := len(r.text)
		if r.text, err = decodeBinary(r.text, oid, w.take(int(size))); err != nil {
			r.c.line = r.c.rows + 1
			return nil, false, &placed{err: err, where: "column " + strconv.Quote(r.c.t.columns[i].Name)}
		}
		r.values = append(r.values, row.Value{Text: r.text[mark:len(r.text):len(r.text)]})
	}
	if len(r.text) > maxBound {
		return nil, false, fault.New(fault.LimitExceeded, "a row of COPY has more than %d bytes as text", maxBound)
	}
	return w.b, true, r.c.insert(r.values)
}

func (r *binaryReader) end() error {
	if len(r.pending) > 0 || !r.headed {
		r.c.line = r.c.rows + 1
		return fault.New(fault.BadCopyFormat, "unexpected EOF in COPY data")
	}
	return nil
}
