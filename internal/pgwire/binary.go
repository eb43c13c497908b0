package pgwire

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/fault"
	"holdfast/row"
)

// maxDims is PostgreSQL's MAXDIM. maxBound is what one Bind's parameters may
// become as text; a binary number of eight bytes can stand for 130,000 digits.
const (
	maxDims  = 6
	maxBound = maxMessage
)

// readParameters fills p from the rest of a Bind message.
func (s *session) readParameters(p *portal, w *wire, name string) error {
	nf := w.int16()
	formats := w.take(2 * nf)
	n := w.int16()
	if w.bad {
		return w.end("Bind")
	}
	if n != len(p.st.oids) {
		return fault.New(fault.ProtocolViolation, "bind message supplies %d parameters, but prepared statement %q requires %d", n, name, len(p.st.oids))
	}
	if nf > 1 && nf != n {
		return fault.New(fault.ProtocolViolation, "bind message has %d parameter formats but %d parameters", nf, n)
	}
	p.params, p.arena = p.params[:0], p.arena[:0]
	for i := range n {
		format := byte(0)
		if nf > 0 {
			j := i
			if nf == 1 {
				j = 0
			}
			if format = formats[2*j+1]; formats[2*j] != 0 || format > 1 {
				return fault.New(fault.ProtocolViolation, "unsupported format code in a Bind message")
			}
		}
		size := w.int32()
		if size == -1 && !w.bad {
			p.params = append(p.params, row.Null)
			continue
		}
		data := w.take(int(size))
		if w.bad {
			return w.end("Bind")
		}
		mark := len(p.arena)
		data, err := s.settings.text.parameter(data, p.st.oids[i], format)
		if err == nil {
			err = p.parameter(data, p.st.oids[i], format)
		}
		if err != nil {
			return &placed{err: err, where: "parameter $" + strconv.Itoa(i+1)}
		}
		if len(p.arena) > maxBound {
			return fault.New(fault.LimitExceeded, "parameters are larger than %d bytes as text", maxBound).WithHint("use COPY")
		}
		p.params = append(p.params, row.Value{Text: p.arena[mark:len(p.arena):len(p.arena)]})
	}
	nr := w.int16()
	results := w.take(2 * nr)
	if err := w.end("Bind"); err != nil {
		return err
	}
	p.formats = p.formats[:0]
	for i := range nr {
		p.formats = append(p.formats, int16(binary.BigEndian.Uint16(results[2*i:])))
	}
	return nil
}

func (p *portal) parameter(data []byte, oid uint32, format byte) (err error) {
	if format == 1 {
		p.arena, err = decodeBinary(p.arena, oid, data)
		return err
	}
	if err := checkText(data); err != nil {
		return err
	}
	p.arena = append(p.arena, data...)
	return nil
}

func badBinary(oid uint32) error {
	return fault.New(fault.InvalidBinaryRepr, "incorrect binary data format for type with OID %d", oid)
}

// decodeBinary appends the text form of a value in PostgreSQL's binary form.
func decodeBinary(dst []byte, oid uint32, b []byte) ([]byte, error) {
	t, ok := byOID[oid]
	if !ok {
		if e := element[oid]; e != 0 {
			return decodeArray(dst, oid, e, b)
		}
		if oid == 0 {
			return dst, fault.New(fault.FeatureNotSupported, "a binary value of a type that is not known cannot be read").
				WithHint("send it as text, name its OID, or declare the table with CREATE TABLE first")
		}
		return dst, fault.New(fault.FeatureNotSupported, "binary values of the type with OID %d are not taken", oid).
			WithHint("send the value as text")
	}
	if t.size > 0 && oid != oidName && len(b) != int(t.size) {
		return dst, badBinary(oid)
	}
	switch oid {
	case oidBool, oidInt2, oidInt4, oidInt8, oidOID, oidFloat4, oidFloat8:
		return decodeFixed(dst, oid, b), nil
	case oidNumeric:
		return decodeNumeric(dst, b)
	case oidBytea:
		return hex.AppendEncode(append(dst, '\\', 'x'), b), nil
	case oidUUID:
		return appendUUIDText(dst, b), nil
	case oidDate:
		return decodeDate(dst, int32(binary.BigEndian.Uint32(b)))
	case oidTime:
		us := int64(binary.BigEndian.Uint64(b))
		if us < 0 || us > 24*3600*1e6 {
			return dst, badBinary(oid)
		}
		return appendClock(dst, us), nil
	case oidTimestamp, oidTimestamptz:
		return decodeTimestamp(dst, oid, int64(binary.BigEndian.Uint64(b)))
	case oidInterval:
		return decodeInterval(dst, b), nil
	case oidInet, oidCIDR:
		return decodeInet(dst, oid, b)
	case oidJSONB:
		if len(b) == 0 || b[0] != 1 {
			return dst, badBinary(oid)
		}
		b = b[1:]
	}
	if err := checkText(b); err != nil {
		return dst, err
	}
	return append(dst, b...), nil
}

// decodeFixed writes numbers and booleans; b has their size.
func decodeFixed(dst []byte, oid uint32, b []byte) []byte {
	switch oid {
	case oidBool:
		if b[0] == 0 {
			return append(dst, 'f')
		}
		return append(dst, 't')
	case oidInt2:
		return strconv.AppendInt(dst, int64(int16(binary.BigEndian.Uint16(b))), 10)
	case oidInt4:
		return strconv.AppendInt(dst, int64(int32(binary.BigEndian.Uint32(b))), 10)
	case oidInt8:
		return strconv.AppendInt(dst, int64(binary.BigEndian.Uint64(b)), 10)
	case oidOID:
		return strconv.AppendUint(dst, uint64(binary.BigEndian.Uint32(b)), 10)
	case oidFloat4:
		return appendFloat(dst, float64(math.Float32frombits(binary.BigEndian.Uint32(b))), 32)
	}
	return appendFloat(dst, math.Float64frombits(binary.BigEndian.Uint64(b)), 64)
}

func appendFloat(dst []byte, f float64, bits int) []byte {
	switch {
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, bits)
}

// decodeNumeric reads digits of base 10,000, of which weight+1 stand before the
// point.
func decodeNumeric(dst []byte, b []byte) ([]byte, error) {
	if len(b) < 8 {
		return dst, badBinary(oidNumeric)
	}
	n, weight := int(binary.BigEndian.Uint16(b)), int(int16(binary.BigEndian.Uint16(b[2:])))
	sign, scale := binary.BigEndian.Uint16(b[4:]), int(binary.BigEndian.Uint16(b[6:]))
	b = b[8:]
	if len(b) != 2*n || scale > 16383 {
		return dst, badBinary(oidNumeric)
	}
	switch sign {
	case 0xC000:
		return append(dst, "NaN"...), nil
	case 0xD000:
		return append(dst, "Infinity"...), nil
	case 0xF000:
		return append(dst, "-Infinity"...), nil
	case 0x4000:
		dst = append(dst, '-')
	case 0:
	default:
		return dst, badBinary(oidNumeric)
	}
	for i := range n {
		if binary.BigEndian.Uint16(b[2*i:]) > 9999 {
			return dst, badBinary(oidNumeric)
		}
	}
	digit := func(i int) int {
		if i < 0 || i >= n {
			return 0
		}
		return int(binary.BigEndian.Uint16(b[2*i:]))
	}
	dst = strconv.AppendInt(dst, int64(digit(min(0, weight))), 10)
	for i := 1; i <= weight; i++ {
		dst = appendFour(dst, digit(i))
	}
	if scale == 0 {
		return dst, nil
	}
	dst = append(dst, '.')
	end := len(dst) + scale
	for i := weight + 1; len(dst) < end; i++ {
		dst = appendFour(dst, digit(i))
	}
	return dst[:end], nil
}

func appendFour(dst []byte, d int) []byte {
	return append(dst, '0'+byte(d/1000), '0'+byte(d/100%10), '0'+byte(d/10%10), '0'+byte(d%10))
}

// epoch is PostgreSQL's, in Unix seconds.
const epoch = 946684800

func decodeDate(dst []byte, days int32) ([]byte, error) {
	switch days {
	case math.MaxInt32:
		return append(dst, "infinity"...), nil
	case math.MinInt32:
		return append(dst, "-infinity"...), nil
	}
	t := time.Unix(epoch+int64(days)*86400, 0).UTC()
	dst, bc := appendDate(dst, t)
	return append(dst, bc...), nil
}

// appendDate writes a date, and returns what stands at the end for a year
// before the first.
func appendDate(dst []byte, t time.Time) ([]byte, string) {
	year, bc := t.Year(), ""
	if year <= 0 {
		year, bc = 1-year, " BC"
	}
	if year < 1000 {
		dst = append(dst, "000"[:3-min(3, digitsOf(year)-1)]...)
	}
	dst = strconv.AppendInt(dst, int64(year), 10)
	return t.AppendFormat(dst, "-01-02"), bc
}

func digitsOf(n int) (d int) {
	for d = 1; n >= 10; n /= 10 {
		d++
	}
	return d
}

func decodeTimestamp(dst []byte, oid uint32, us int64) ([]byte, error) {
	switch us {
	case math.MaxInt64:
		return append(dst, "infinity"...), nil
	case math.MinInt64:
		return append(dst, "-infinity"...), nil
	}
	sec := us / 1e6
	if us%1e6 < 0 {
		sec--
	}
	t := time.Unix(epoch+sec, 0).UTC()
	dst, bc := appendDate(dst, t)
	dst = append(dst, ' ')
	inDay := int64(t.Hour()*3600+t.Minute()*60+t.Second())*1e6 + (us - sec*1e6)
	dst = appendClock(dst, inDay)
	if oid == oidTimestamptz {
		dst = append(dst, "+00"...)
	}
	return append(dst, bc...), nil
}

// appendClock writes microseconds as 15:04:05.999999; the hours may be more
// than two digits.
func appendClock(dst []byte, us int64) []byte {
	hours := us / 3600e6
	if hours < 10 {
		dst = append(dst, '0')
	}
	dst = strconv.AppendInt(dst, hours, 10)
	rest := int(us / 1e6 % 3600)
	dst = append(dst, ':', '0'+byte(rest/600), '0'+byte(rest/60%10), ':', '0'+byte(rest%60/10), '0'+byte(rest%10))
	if frac := us % 1e6; frac != 0 {
		text := strconv.FormatInt(1e6+frac, 10)
		dst = append(dst, '.')
		dst = append(dst, strings.TrimRight(text[1:], "0")...)
	}
	return dst
}

// decodeInterval writes an interval in the style "postgres".
func decodeInterval(dst []byte, b []byte) []byte {
	us := int64(binary.BigEndian.Uint64(b))
	days, months := int32(binary.BigEndian.Uint32(b[8:])), int32(binary.BigEndian.Uint32(b[12:]))
	start, minus := len(dst), false
	part := func(n int32, one, many string) {
		if n == 0 {
			return
		}
		if len(dst) > start {
			dst = append(dst, ' ')
		}
		if minus && n > 0 {
			dst = append(dst, '+')
		}
		minus = n < 0
		dst = strconv.AppendInt(dst, int64(n), 10)
		if n == 1 {
			many = one
		}
		dst = append(dst, many...)
	}
	part(months/12, " year", " years")
	part(months%12, " mon", " mons")
	part(days, " day", " days")
	if us == 0 && len(dst) > start {
		return dst
	}
	if len(dst) > start {
		dst = append(dst, ' ')
	}
	switch {
	case us == math.MinInt64:
		return append(dst, "-2562047788:00:54.775808"...)
	case us < 0:
		dst = append(dst, '-')
		us = -us
	case minus:
		dst = append(dst, '+')
	}
	return appendClock(dst, us)
}

func decodeInet(dst []byte, oid uint32, b []byte) ([]byte, error) {
	if len(b) < 4 || int(b[3]) != len(b)-4 || b[0] == 2 && len(b) != 8 || b[0] == 3 && len(b) != 20 {
		return dst, badBinary(oid)
	}
	addr, ok := netip.AddrFromSlice(b[4:])
	if !ok || int(b[1]) > addr.BitLen() {
		return dst, badBinary(oid)
	}
	dst = addr.AppendTo(dst)
	if int(b[1]) < addr.BitLen() || oid == oidCIDR {
		dst = append(dst, '/')
		dst = strconv.AppendInt(dst, int64(b[1]), 10)
	}
	return dst, nil
}

// encodeBinary is the binary form of what SELECT and SHOW answer.
func encodeBinary(oid uint32, text string) ([]byte, error) {
	switch oid {
	case oidText, oidName:
		return []byte(text), nil
	case oidBool:
		if text == "t" {
			return []byte{1}, nil
		}
		return []byte{0}, nil
	case oidInt4:
		n, err := strconv.ParseInt(text, 10, 32)
		return binary.BigEndian.AppendUint32(nil, uint32(n)), err
	case oidTimestamptz:
		for _, layout := range []string{"2006-01-02 15:04:05.999999-07", "2006-01-02 15:04:05.999999-07:00"} {
			if t, err := time.Parse(layout, text); err == nil {
				return binary.BigEndian.AppendUint64(nil, uint64(t.UnixMicro()-epoch*1e6)), nil
			}
		}
	}
	return nil, fault.New(fault.FeatureNotSupported, "this answer is not given in binary").WithHint("ask for the text format")
}
