package pgwire

import (
	"strconv"
	"strings"

	"holdfast/internal/fault"
)

// decodeArray reads an array of any depth.
func decodeArray(dst []byte, oid, elem uint32, b []byte) ([]byte, error) {
	w := &wire{b: b}
	dims, _, got := int(w.int32()), w.int32(), uint32(w.int32())
	if w.bad || dims < 0 || dims > maxDims {
		return dst, badBinary(oid)
	}
	if got != elem {
		return dst, fault.New(fault.DatatypeMismatch, "binary data has array element type %d instead of expected %d", got, elem)
	}
	sizes, bounds, plain, empty := make([]int, dims), make([]int32, dims), true, dims == 0
	for i := range sizes {
		sizes[i], bounds[i] = int(w.int32()), w.int32()
		plain = plain && bounds[i] == 1
		empty = empty || sizes[i] == 0
		if w.bad || sizes[i] < 0 || sizes[i] > len(b)/4 {
			return dst, badBinary(oid)
		}
	}
	if empty {
		if len(w.b) > 0 {
			return dst, badBinary(oid)
		}
		return append(dst, "{}"...), nil
	}
	if !plain {
		for i := range sizes {
			dst = append(dst, '[')
			dst = strconv.AppendInt(dst, int64(bounds[i]), 10)
			dst = append(dst, ':')
			dst = strconv.AppendInt(dst, int64(bounds[i])+int64(sizes[i])-1, 10)
			dst = append(dst, ']')
		}
		dst = append(dst, '=')
	}
	dst, err := decodeElements(dst, elem, sizes, w)
	if err != nil {
		return dst, err
	}
	if w.bad || len(w.b) > 0 {
		return dst, badBinary(oid)
	}
	return dst, nil
}

func decodeElements(dst []byte, elem uint32, sizes []int, w *wire) ([]byte, error) {
	dst = append(dst, '{')
	for i := range sizes[0] {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if len(sizes) > 1 {
			dst, err = decodeElements(dst, elem, sizes[1:], w)
		} else {
			dst, err = decodeElement(dst, elem, w)
		}
		if err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

func decodeElement(dst []byte, elem uint32, w *wire) ([]byte, error) {
	size := w.int32()
	if size == -1 {
		return append(dst, "NULL"...), nil
	}
	data := w.take(int(size))
	if w.bad || len(dst) > maxBound {
		return dst, badBinary(elem)
	}
	text, err := decodeBinary(nil, elem, data)
	if err != nil {
		return dst, err
	}
	return appendElement(dst, text), nil
}

// appendElement writes an element of an array as PostgreSQL prints it.
func appendElement(dst, text []byte) []byte {
	if len(text) > 0 && !strings.EqualFold(string(text), "null") && !strings.ContainsAny(string(text), "{}\",\\ \t\n\r\f\v") {
		return append(dst, text...)
	}
	dst = append(dst, '"')
	for _, c := range text {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}
