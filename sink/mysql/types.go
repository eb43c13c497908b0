package mysql

import (
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// created says which type a column is created with, by the name of the type
// that its rows come with. Only what stands here goes into a statement, so that
// a type from outside is never SQL. What is not here becomes LONGTEXT, which
// keeps everything as it was written.
//
//   - TEXT would end at 64 KiB; LONGTEXT costs two bytes more per value.
//   - numeric without precision has no counterpart: DECIMAL(65,30) is the
//     largest that there is, and what does not fit it is refused, not rounded.
//   - FLOAT prints six digits, so real becomes DOUBLE.
//   - a timestamptz is kept as DATETIME in UTC; TIMESTAMP would end in 2038.
var created = map[string]string{
	"smallint": "SMALLINT", "int2": "SMALLINT", "smallserial": "SMALLINT",
	"integer": "INT", "int": "INT", "int4": "INT", "serial": "INT",
	"bigint": "BIGINT", "int8": "BIGINT", "bigserial": "BIGINT",
	"numeric": "DECIMAL(65,30)", "decimal": "DECIMAL(65,30)",
	"real": "DOUBLE", "float4": "DOUBLE", "float": "DOUBLE", "float8": "DOUBLE", "double precision": "DOUBLE",
	"boolean": "TINYINT(1)", "bool": "TINYINT(1)",
	"bytea": "LONGBLOB", "date": "DATE", "time": "TIME(6)", "time without time zone": "TIME(6)",
	"timestamp": "DATETIME(6)", "timestamp without time zone": "DATETIME(6)",
	"timestamptz": "DATETIME(6)", "timestamp with time zone": "DATETIME(6)",
	"json": "JSON", "jsonb": "JSON", "uuid": "CHAR(36)",
}

// withZone is the comment of a DATETIME column that holds UTC, so that Describe
// can tell it from one whose zone nobody knows.
const withZone = "timestamptz, in UTC"

// longestVarchar is the longest VARCHAR that is created: a row holds 64 KiB of
// them in all, and LONGTEXT takes whatever is longer.
const longestVarchar = 1000

// declared returns the type to create a column with.
func declared(typ string) string {
	base, args := split(typ)
	switch base {
	case "varchar", "character varying", "char", "character", "bpchar":
		if n, err := strconv.Atoi(args); err == nil && n > 0 && n <= longestVarchar {
			return "VARCHAR(" + strconv.Itoa(n) + ")"
		}
	case "numeric", "decimal":
		p, s, _ := strings.Cut(args, ",")
		precision, err1 := strconv.Atoi(strings.TrimSpace(p))
		scale, err2 := strconv.Atoi(strings.TrimSpace("0" + strings.TrimSpace(s)))
		if err1 == nil && err2 == nil && precision > 0 && precision <= 65 && scale <= 30 && scale <= precision {
			return "DECIMAL(" + strconv.Itoa(precision) + "," + strconv.Itoa(scale) + ")"
		}
	case "timestamptz", "timestamp with time zone":
		return created[base] + " COMMENT '" + withZone + "'"
	}
	if t := created[base]; t != "" {
		return t
	}
	return "LONGTEXT"
}

// split takes "numeric(10,2)" and "timestamp(3) with time zone" apart.
func split(typ string) (base, args string) {
	base = strings.TrimSpace(strings.ToLower(typ))
	open, end := strings.IndexByte(base, '('), strings.IndexByte(base, ')')
	if open >= 0 && end > open {
		args = base[open+1 : end]
		base = strings.TrimSpace(strings.TrimSpace(base[:open]) + base[end+1:])
	}
	return base, args
}

// kind is what is done to text on its way into a column.
type kind uint8

const (
	asText    kind = iota // nothing: the database judges it
	asInteger             // true and false become numbers; what would be rounded is refused
	asBit                 // true and false become numbers, and 0101 a number of these bits
	asBytes               // \x0102 becomes bytes
	asMoment              // a moment with a zone becomes the same moment in UTC
	asExact               // what would be rounded is refused
)

// kindOf returns the kind of a column of MySQL's type data, filled from a
// column of type typ.
func kindOf(data, typ string) kind {
	switch data {
	case "tinyint", "smallint", "mediumint", "int", "bigint":
		return asInteger
	case "bit":
		return asBit
	case "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob":
		return asBytes
	case "datetime", "timestamp":
		return asMoment
	case "decimal":
		// numeric(10,2) says itself that it rounds; numeric does not.
		if base, args := split(typ); args == "" && (base == "numeric" || base == "decimal") {
			return asExact
		}
	}
	return asText
}

// cell returns what is bound for text in column c. Where there is nothing to
// convert, it is text itself. why is set where the database would change the
// value without a word.
func (c *column) cell(kind kind, text string) (v any, why string) {
	switch kind {
	case asInteger:
		if text != "" && text[0] >= 'A' {
			if n, ok := truth(text); ok {
				return n, ""
			}
		} else if fraction(text) > 0 {
			return nil, "it is no whole number, and the column would round it"
		}
	case asBit:
		if n, ok := truth(text); ok {
			return n, ""
		}
		// As text, '1' would be the bits of the character 1.
		if n, err := strconv.ParseUint(text, 2, 64); err == nil {
			return n, ""
		}
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			return n, ""
		}
	case asBytes:
		if strings.HasPrefix(text, `\x`) {
			if b, err := hex.DecodeString(text[2:]); err == nil {
				return b, ""
			}
		}
	case asMoment:
		return inUTC(text), ""
	case asExact:
		if fraction(text) > c.scale {
			return nil, "it has more than the " + strconv.Itoa(c.scale) + " digits behind the point that the column keeps"
		}
	}
	return text, ""
}

// truth reads the words that PostgreSQL takes for a boolean.
func truth(text string) (int64, bool) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "t", "true", "y", "yes", "on":
		return 1, true
	case "f", "false", "n", "no", "off":
		return 0, true
	}
	return 0, false
}

// fraction returns how many digits behind the point text has, zeros at the end
// not counted. With an exponent it is the digits that count in the end.
func fraction(text string) int {
	s := strings.TrimSpace(text)
	shift := 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		n, err := strconv.Atoi(s[i+1:])
		if err != nil {
			return 0 // no number: the database says so
		}
		s, shift = s[:i], n
	}
	whole, behind, _ := strings.Cut(s, ".")
	behind = strings.TrimRight(behind, "0")
	digits := len(behind)
	if digits == 0 { // 1200e-2 is whole, 1250e-2 is not
		whole = strings.TrimLeft(whole, "-+0")
		digits = -(len(whole) - len(strings.TrimRight(whole, "0")))
		if whole == "" {
			return 0
		}
	}
	return max(0, digits-shift)
}

// inUTC turns a moment with a zone, as PostgreSQL writes it, into the same
// moment in UTC without one; any other text it leaves alone.
func inUTC(text string) string {
	if len(text) < 17 || text[4] != '-' || text[10] != ' ' && text[10] != 'T' {
		return text
	}
	i := strings.LastIndexAny(text, "+-Z")
	if i <= 10 {
		return text
	}
	zone := map[int]string{0: "Z", 2: "-07", 4: "-0700", 5: "-07:00", 8: "-07:00:00"}[len(text)-i-1]
	if zone == "" || (text[i] == 'Z') != (zone == "Z") {
		return text
	}
	if zone == "Z" {
		zone = "Z07"
	}
	t, err := time.Parse("2006-01-02 15:04:05"+zone, text[:10]+" "+strings.TrimSpace(text[11:i])+text[i:])
	if err != nil {
		return text
	}
	if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 {
		return text
	}
	digits := 0 // as many as there were
	if dot := strings.IndexByte(text[:i], '.'); dot >= 0 {
		digits = min(9, len(strings.TrimSpace(text[:i]))-dot-1)
	}
	layout := "2006-01-02 15:04:05"
	if digits > 0 {
		layout += "." + strings.Repeat("0", digits)
	}
	return t.Format(layout)
}
