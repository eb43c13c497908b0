package cli

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast/internal/httpapi"
)

// TestScenario45CSV: no cell of an export is run by a spreadsheet, and the rest
// comes back as it was.
func TestScenario45CSV(t *testing.T) {
	var b bytes.Buffer
	w := &csvWriter{out: bufio.NewWriter(&b)}
	values := []string{`=HYPERLINK("http://evil","x")`, "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "-", "+", "=", "-1", "+4912345", "-1.5", "-.5", "-1.5.5",
		"plain", `quo"ted`, "a,b", "line\nbreak", " blank ", "", "<script>", "'='", "é"}
	columns := []string{"=c0"}
	for i := range values[1:] {
		columns = append(columns, fmt.Sprint("c", i+1))
	}
	at := time.Date(2026, 11, 21, 1, 2, 3, 4000, time.UTC)
	line := &httpapi.RowLine{Seq: 7, Received: at, Table: "t", Columns: columns}
	for i := range values {
		line.Values = append(line.Values, &values[i])
	}
	if err := w.row(line); err != nil {
		t.Fatal(err)
	}
	if err := w.row(&httpapi.RowLine{Seq: 8, Received: at, Table: "t", Columns: []string{"c2", "c1"}, Values: []*string{&values[15], nil}}); err != nil {
		t.Fatal(err)
	}
	if err := w.row(&httpapi.RowLine{Seq: 9, Received: at, Table: "t", Columns: []string{"new"}, Values: []*string{nil}}); err == nil || !strings.Contains(err.Error(), "--from 9") {
		t.Errorf("a column of its own: %v", err)
	}
	if err := w.out.Flush(); err != nil {
		t.Fatal(err)
	}
	got, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(got) != 3 {
		t.Fatalf("%q, %v", got, err)
	}
	if head := strings.Join(got[0][:5], " "); head != "seq received table '=c0 c1" {
		t.Errorf("the first line is %q", head)
	}
	if place := strings.Join(got[1][:3], " "); place != "7 2026-11-21T01:02:03.000004Z t" {
		t.Errorf("the second begins with %q", place)
	}
	numbers := map[string]bool{"-1": true, "+4912345": true, "-1.5": true}
	for i, v := range values {
		cell := got[1][3+i]
		wanted := v
		if v != "" && strings.ContainsAny(v[:1], "=+-@\t\r\n") && !numbers[v] {
			wanted = "'" + v
		}
		if cell != wanted {
			t.Errorf("%q became %q", v, cell)
		}
	}
	if got[2][4] != "" || got[2][5] != "plain" || got[2][3] != "" {
		t.Errorf("values are not under their columns: %q", got[2])
	}
}
