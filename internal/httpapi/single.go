package httpapi

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"slices"

	"holdfast/internal/fault"
	"holdfast/row"
)

// Single parses objects and CSV records one at a time, for sources whose rows
// stand in files. What it returns is valid until the next call, as long as the
// text is unchanged. Not safe for concurrent use.
type Single struct {
	objects objectParser
	text    bytes.Reader
	csv     csvReader
	columns []row.Column
	values  []row.Value
}

// Object returns the columns and values of a JSON object, sorted by name, so
// that rows which differ in the order of their keys have the same columns.
func (s *Single) Object(text []byte) ([]row.Column, []row.Value, error) {
	fields, err := s.objects.parse(text)
	if err != nil {
		return nil, nil, err
	}
	if len(fields) == 0 {
		return nil, nil, fault.New(fault.SyntaxError, "the object is empty, so the row has no column")
	}
	if err := distinct(fields); err != nil {
		return nil, nil, err
	}
	slices.SortFunc(fields, func(a, b field) int { return cmp.Compare(string(a.name), string(b.name)) })
	s.columns, s.values = s.columns[:0], s.values[:0]
	for _, f := range fields {
		kind := map[kindOf]string{isNumber: "numeric", isOther: "text"}[f.kind]
		s.columns, s.values = append(s.columns, row.Column{Name: string(f.name), Type: kind}), append(s.values, f.value)
	}
	return s.columns, s.values, nil
}

// Header returns the columns that a CSV header line names.
func (s *Single) Header(text []byte) ([]row.Column, error) {
	s.begin(text)
	columns, _, err := s.csv.header()
	if err == nil {
		err = s.end()
	}
	for i := range columns {
		columns[i].Type = "text"
	}
	return columns, err
}

// Record returns the values of a CSV record.
func (s *Single) Record(text []byte) ([]row.Value, error) {
	s.begin(text)
	values, _, err := s.csv.next()
	if err != nil {
		return nil, err
	}
	s.values = append(s.values[:0], values...)
	return s.values, s.end()
}

func (s *Single) begin(text []byte) {
	s.text.Reset(text)
	if s.csv.input == nil {
		s.csv.input = newInput(&s.text, func() error { return nil })
		return
	}
	s.csv.r.Reset(&s.text)
}

// end holds that nothing stands behind what was read.
func (s *Single) end() error {
	if _, err := s.csv.r.ReadByte(); !errors.Is(err, io.EOF) {
		return fault.New(fault.BadCopyFormat, "more than one record stands here").WithHint("put a value with a line end in double quotes")
	}
	return nil
}
