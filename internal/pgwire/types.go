package pgwire

import (
	"strings"

	"holdfast/internal/fault"
)

// kindOf is what a type means for the text of its values.
type kindOf uint8

const (
	kindOther kindOf = iota
	kindInteger
	kindNumber
	kindBool
	kindText
	kindTime
)

// OIDs of PostgreSQL's pg_type that have a meaning here.
const (
	oidBool        = 16
	oidBytea       = 17
	oidChar        = 18
	oidName        = 19
	oidInt8        = 20
	oidInt2        = 21
	oidInt4        = 23
	oidText        = 25
	oidOID         = 26
	oidJSON        = 114
	oidXML         = 142
	oidCIDR        = 650
	oidFloat4      = 700
	oidFloat8      = 701
	oidUnknown     = 705
	oidInet        = 869
	oidBPChar      = 1042
	oidVarchar     = 1043
	oidDate        = 1082
	oidTime        = 1083
	oidTimestamp   = 1114
	oidTimestamptz = 1184
	oidInterval    = 1186
	oidNumeric     = 1700
	oidUUID        = 2950
	oidJSONB       = 3802
)

type typeInfo struct {
	oid, array uint32
	kind       kindOf
	size       int16
}

// types are the types whose binary form is understood, by every name that
// PostgreSQL has for them. Any other type is known by its name alone, and its
// parameters by OID 0, so that clients send them as text.
var types = func() map[string]typeInfo {
	m := make(map[string]typeInfo)
	for _, t := range []struct {
		names string
		info  typeInfo
	}{
		{"bool boolean", typeInfo{oidBool, 1000, kindBool, 1}},
		{"bytea", typeInfo{oidBytea, 1001, kindOther, -1}},
		{"name", typeInfo{oidName, 1003, kindText, 64}},
		{"int8 bigint bigserial serial8", typeInfo{oidInt8, 1016, kindInteger, 8}},
		{"int2 smallint smallserial serial2", typeInfo{oidInt2, 1005, kindInteger, 2}},
		{"int4 int integer serial serial4", typeInfo{oidInt4, 1007, kindInteger, 4}},
		{"text", typeInfo{oidText, 1009, kindText, -1}},
		{"oid", typeInfo{oidOID, 1028, kindInteger, 4}},
		{"json", typeInfo{oidJSON, 199, kindOther, -1}},
		{"xml", typeInfo{oidXML, 143, kindOther, -1}},
		{"cidr", typeInfo{oidCIDR, 651, kindOther, -1}},
		{"float4 real", typeInfo{oidFloat4, 1021, kindNumber, 4}},
		{"float8 float double precision", typeInfo{oidFloat8, 1022, kindNumber, 8}},
		{"inet", typeInfo{oidInet, 1041, kindOther, -1}},
		{"bpchar char character", typeInfo{oidBPChar, 1014, kindText, -1}},
		{"varchar", typeInfo{oidVarchar, 1015, kindText, -1}},
		{"date", typeInfo{oidDate, 1182, kindTime, 4}},
		{"time", typeInfo{oidTime, 1183, kindTime, 8}},
		{"timestamp", typeInfo{oidTimestamp, 1115, kindTime, 8}},
		{"timestamptz", typeInfo{oidTimestamptz, 1185, kindTime, 8}},
		{"interval", typeInfo{oidInterval, 1187, kindOther, 16}},
		{"numeric decimal dec", typeInfo{oidNumeric, 1231, kindNumber, -1}},
		{"uuid", typeInfo{oidUUID, 2951, kindOther, 16}},
		{"jsonb", typeInfo{oidJSONB, 3807, kindOther, -1}},
	} {
		for _, n := range strings.Fields(t.names) {
			m[n] = t.info
		}
	}
	delete(m, "precision")
	m["double precision"] = m["float8"]
	return m
}()

var (
	byOID   = make(map[uint32]typeInfo)
	element = make(map[uint32]uint32) // of an array's OID
)

func init() {
	for _, t := range types {
		byOID[t.oid] = t
		element[t.array] = t.oid
	}
}

// typeSize is pg_type.typlen.
func typeSize(oid uint32) int16 {
	if t, ok := byOID[oid]; ok {
		return t.size
	}
	return -1
}

// numericOID reports whether a parameter of this OID is a number, which makes
// a numeric column where the column is not known yet.
func numericOID(oid uint32) bool {
	k := byOID[oid].kind
	return k == kindNumber || k == kindInteger
}

// sqlType is a type as a statement names it.
type sqlType struct {
	name string // lower-case, long spellings of PostgreSQL made short
	mod  string // "(10,2)", " day to second", or nothing
	dims int
}

// String returns the type as row.Column carries it.
func (t sqlType) String() string {
	return t.name + t.mod + strings.Repeat("[]", t.dims)
}

func (t sqlType) info() typeInfo { return types[t.name] }

func (t sqlType) oid() uint32 {
	if t.dims > 0 {
		return t.info().array
	}
	return t.info().oid
}

// typeOf reads back a type that row.Column carries. Types that are not known
// have no OID.
func typeOf(declared string) sqlType {
	t := sqlType{name: declared}
	for strings.HasSuffix(t.name, "[]") {
		t.name, t.dims = t.name[:len(t.name)-2], t.dims+1
	}
	if rest, ok := strings.CutPrefix(t.name, "interval "); ok {
		t.name, t.mod = "interval", " "+rest
	}
	if i := strings.IndexByte(t.name, '('); i >= 0 {
		t.name, t.mod = t.name[:i], t.name[i:]+t.mod
	}
	return t
}

// sqlType reads a type's name with its modifier and its array bounds.
func (l *lexer) sqlType() (sqlType, error) {
	t, exact, err := l.typeName()
	if err != nil {
		return t, err
	}
	if exact || t.name != "timestamp" && t.name != "time" { // theirs stands before "with time zone"
		mod, err := l.modifier()
		if err != nil {
			return t, err
		}
		t.mod += mod
	} else if err = l.zone(&t); err != nil {
		return t, err
	}
	for {
		switch {
		case l.keyword("array"):
			t.dims = 1
			if !l.punct('[') {
				continue
			}
		case !l.punct('['):
			return t, nil
		default:
			t.dims++
		}
		l.space()
		for class[l.at(0)]&isDigit != 0 {
			l.pos++
		}
		if err := l.want(']'); err != nil {
			return t, err
		}
		if t.dims > maxDims {
			return t, fault.New(fault.LimitExceeded, "type %q has more than %d dimensions", t.name, maxDims)
		}
	}
}

// typeName reads the name alone. A quoted name and one with its schema are
// exact: PostgreSQL looks them up in pg_type as they stand.
func (l *lexer) typeName() (t sqlType, exact bool, err error) {
	if l.word() == nil {
		t.name, err = l.exactName()
		return t, true, err
	}
	switch {
	case l.keywords("double", "precision"):
		t.name = "double precision"
	case l.keywords("character", "varying"), l.keywords("char", "varying"),
		l.keywords("national", "character", "varying"), l.keywords("nchar", "varying"):
		t.name = "varchar"
	case l.keywords("national", "character"), l.keywords("national", "char"), l.keyword("nchar"):
		t.name = "char"
	case l.keywords("bit", "varying"):
		t.name = "varbit"
	case l.keyword("interval"):
		t.name = "interval"
		for again := true; again; {
			again = false
			for _, field := range intervalFields {
				if l.keyword(field) {
					t.mod, again = t.mod+" "+field, true
				}
			}
		}
	default:
		at := l.pos
		if t.name, err = l.name(); err != nil || l.at(0) != '.' {
			if err == nil && columnsOnly[t.name] {
				l.pos = at
				err = l.syntax()
			}
			return t, false, err
		}
		l.pos++
		schema := t.name
		if t.name, err = l.exactName(); err == nil && schema != "pg_catalog" && schema != "public" {
			err = l.refuse("types of schema \""+schema+"\" are not known", "name the type without a schema")
		}
		return t, true, err
	}
	return t, false, nil
}

// exactName reads a type's name that must stand in pg_type. What the grammar
// alone knows, such as int for int4, does not.
func (l *lexer) exactName() (string, error) {
	l.space()
	at := l.pos
	n, err := l.name()
	if real := spelledOut[n]; err == nil && real != "" {
		err = place(fault.New(fault.UndefinedObject, "type %q does not exist", n).
			WithHint("write %s, or the name without quotes and without a schema", real), l.src, at)
	}
	return n, err
}

// spelledOut are names that PostgreSQL's grammar, and its serial columns, have
// for types of other names.
var spelledOut = map[string]string{
	"boolean": "bool", "smallint": "int2", "smallserial": "int2", "serial2": "int2", "int": "int4", "integer": "int4", "serial": "int4",
	"serial4": "int4", "bigint": "int8", "bigserial": "int8", "serial8": "int8", "real": "float4", "float": "float8",
	"double precision": "float8", "decimal": "numeric", "dec": "numeric", "character": "bpchar",
}

// columnsOnly are the words that PostgreSQL 15 takes as a column's name and not
// as a type's, besides the types that its grammar knows.
var columnsOnly = func() map[string]bool {
	m := make(map[string]bool)
	for _, w := range strings.Fields(`between coalesce exists extract greatest grouping inout least national none
		normalize nullif out overlay position precision row setof substring treat trim values xmlattributes
		xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable`) {
		m[w] = true
	}
	return m
}()

// intervalFields follow the name of the type interval. They change what '5'
// means, so they count as a modifier.
var intervalFields = []string{"year", "month", "day", "hour", "minute", "second", "to"}

// modifier reads "(10, 2)" and returns it without blanks.
func (l *lexer) modifier() (string, error) {
	if !l.punct('(') {
		return "", nil
	}
	b := []byte{'('}
	for {
		l.space()
		if l.at(0) == '-' { // numeric(5,-2)
			b = append(b, '-')
			l.pos++
		}
		at := l.pos
		for class[l.at(0)]&isDigit != 0 {
			b = append(b, l.src[l.pos])
			l.pos++
		}
		if l.pos == at || l.pos-at > 10 || len(b) > 64 {
			return "", l.syntax()
		}
		if l.punct(')') {
			return string(append(b, ')')), nil
		}
		if err := l.want(','); err != nil {
			return "", err
		}
		b = append(b, ',')
	}
}

// zone reads the rest of a timestamp's or a time's name.
func (l *lexer) zone(t *sqlType) (err error) {
	if t.mod, err = l.modifier(); err != nil {
		return err
	}
	switch {
	case l.keywords("with", "time", "zone"):
		t.name += "tz"
	case l.keywords("without", "time", "zone"):
	}
	return nil
}
