package pgwire

import (
	"strconv"
	"strings"

	"holdfast/internal/fault"
)

// copyOptions say how the data is written.
type copyOptions struct {
	format     string // text, csv or binary
	delimiter  byte
	null       string
	nullSet    bool
	header     bool
	match      bool // the header must name the columns
	quote      byte
	escape     byte
	usedQuote  bool
	usedEscape bool
	encoding   string // of the data; "": the session's
}

// options reads "(FORMAT csv, HEADER)".
func (o *copyOptions) options(l *lexer) error {
	for {
		l.space()
		at := l.pos
		w := lower(l.word())
		l.pos += len(w)
		var err error
		switch w {
		case "format":
			o.format, err = l.settingValue()
			o.format = strings.ToLower(o.format)
			if err == nil && o.format != "text" && o.format != "csv" && o.format != "binary" {
				return fault.New(fault.InvalidParameterValue, "COPY format %q not recognized", o.format).WithHint("it is text, csv or binary")
			}
		case "header":
			err = o.headerOption(l)
		case "freeze":
			if l.at(0) != ',' && l.at(0) != ')' && l.word() != nil {
				_, err = l.settingValue()
			}
		case "encoding":
			o.encoding, err = l.encoding()
		default:
			l.pos = at
			err = o.valueOption(l, w)
		}
		if err != nil {
			return err
		}
		if l.punct(')') {
			return nil
		}
		if err := l.want(','); err != nil {
			return err
		}
	}
}

// headerOption reads the optional value of HEADER.
func (o *copyOptions) headerOption(l *lexer) error {
	o.header = true
	if l.space(); l.at(0) == ',' || l.at(0) == ')' {
		return nil
	}
	v, err := l.settingValue()
	if err != nil {
		return err
	}
	if strings.EqualFold(v, "match") {
		o.match = true
		return nil
	}
	on, ok := parseBool(v)
	if !ok {
		return fault.New(fault.InvalidParameterValue, "invalid value for COPY option header: %q", v).WithHint("it is true, false or match")
	}
	o.header = on
	return nil
}

// valueOption reads the options that are the same in both syntaxes.
func (o *copyOptions) valueOption(l *lexer, w string) (err error) {
	switch w {
	case "delimiter", "quote", "escape", "null":
		l.pos += len(w)
		l.keyword("as")
	default:
		if strings.HasPrefix(w, "force") || w == "on_error" || w == "default" || w == "log_verbosity" || w == "reject_limit" {
			return l.refuse("COPY option "+strconv.Quote(w)+" is not taken", "write the data as the columns should get it")
		}
		return l.syntax()
	}
	switch w {
	case "delimiter":
		o.delimiter, err = l.oneByte(w)
	case "quote":
		o.usedQuote = true
		o.quote, err = l.oneByte(w)
	case "escape":
		o.usedEscape = true
		o.escape, err = l.oneByte(w)
	case "null":
		o.nullSet = true
		if o.null, err = l.optionText(); err == nil && strings.ContainsAny(o.null, "\r\n") {
			err = fault.New(fault.InvalidParameterValue, "COPY null representation cannot use newline or carriage return")
		}
	}
	return err
}

// oldOptions reads "DELIMITER AS ',' NULL AS ” CSV HEADER".
func (o *copyOptions) oldOptions(l *lexer) error {
	for {
		w := lower(l.word())
		var err error
		switch w {
		case "":
			return nil
		case "where":
			return nil
		case "binary", "csv":
			l.pos += len(w)
			o.format = w
		case "header":
			l.pos += len(w)
			o.header = true
		case "freeze":
			l.pos += len(w)
		case "encoding":
			l.pos += len(w)
			o.encoding, err = l.encoding()
		default:
			err = o.valueOption(l, w)
		}
		if err != nil {
			return err
		}
	}
}

func (l *lexer) optionText() (string, error) {
	l.space()
	if l.pos >= len(l.src) || !stringAhead(l) {
		return "", l.syntax()
	}
	var scratch []byte
	v, _, err := l.literal(&scratch)
	return string(v), err
}

func (l *lexer) oneByte(what string) (byte, error) {
	v, err := l.optionText()
	if err != nil {
		return 0, err
	}
	if len(v) != 1 || v == "\n" || v == "\r" || v == "\x00" {
		return 0, fault.New(fault.FeatureNotSupported, "COPY %s must be a single one-byte character, not %q", what, v)
	}
	return v[0], nil
}

// encoding reads the name of an encoding.
func (l *lexer) encoding() (string, error) {
	v, err := l.optionText()
	if err != nil {
		return "", err
	}
	name, f := checkEncoding(v)
	if f != nil {
		return "", f
	}
	return name, nil
}

// complete sets what was left open, and refuses options that do not go
// together.
func (o *copyOptions) complete() error {
	bad := func(message string, args ...any) error {
		return fault.New(fault.InvalidParameterValue, message, args...)
	}
	if o.format == "binary" {
		if o.delimiter != 0 || o.nullSet || o.header || o.usedQuote || o.usedEscape {
			return bad("COPY BINARY takes neither DELIMITER, NULL, HEADER, QUOTE nor ESCAPE")
		}
		return nil
	}
	if o.format == "text" {
		if o.usedQuote || o.usedEscape {
			return bad("COPY QUOTE and ESCAPE are available only in CSV mode; add FORMAT csv")
		}
		if o.delimiter == 0 {
			o.delimiter = '\t'
		}
		if !o.nullSet {
			o.null = `\N`
		}
		if strings.IndexByte(`\.abcdefghijklmnopqrstuvwxyz0123456789`, o.delimiter) >= 0 {
			return bad("COPY delimiter cannot be %q", string(rune(o.delimiter)))
		}
	} else {
		if o.delimiter == 0 {
			o.delimiter = ','
		}
		if !o.usedQuote {
			o.quote = '"'
		}
		if !o.usedEscape {
			o.escape = o.quote
		}
		if o.delimiter == o.quote {
			return bad("COPY delimiter and quote must be different")
		}
		if strings.IndexByte(o.null, o.quote) >= 0 {
			return bad("CSV quote character must not appear in the NULL specification")
		}
	}
	if strings.IndexByte(o.null, o.delimiter) >= 0 {
		return bad("COPY delimiter must not appear in the NULL specification")
	}
	return nil
}
