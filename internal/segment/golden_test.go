package segment

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"testing"

	"holdfast/row"
)

// rewrite makes the golden file of the present version anew. A golden file of
// a version that was released is never made anew: files like it are out there.
var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// TestGoldenVersion1 holds that segments written by version 1 stay readable,
// and that this program still writes the same bytes.
func TestGoldenVersion1(t *testing.T) {
	_, sum, written := sealed(t)
	if *rewrite {
		ok(t, os.WriteFile("testdata/version1.seg", written, 0o644))
		future := bytes.Clone(written[:DataStart])
		for at := 0; at < DataStart; at += headerCopy {
			setVersion(future[at:], Version+1)
		}
		ok(t, os.WriteFile("testdata/future.seg", future, 0o644))
	}
	golden, err := os.ReadFile("testdata/version1.seg")
	ok(t, err)
	f := fileOf(t, golden)
	foot, _, err := ReadFooter(f)
	ok(t, err)
	src := source(f, &foot)
	wantAll(t, read(t, src, 0).rows, wantRows(len(commits)))
	if rows, err := Verify(src, &foot, func(d row.Damage) { t.Errorf("damage in the golden file: %+v", d) }); rows != 11 || err != nil {
		t.Fatalf("verified %d rows, error %v", rows, err)
	}
	r, err := Recover(f, foot.Header, 0, nil)
	ok(t, err)
	if r.Summary.Tail != sum.Tail {
		t.Fatalf("recovered tail %+v, want %+v", r.Summary.Tail, sum.Tail)
	}
	if !bytes.Equal(golden, written) {
		t.Fatal("this program writes other bytes than the golden file of its version has")
	}
}

// TestGoldenFuture holds that a file of a newer version is told from a
// damaged one.
func TestGoldenFuture(t *testing.T) {
	future, err := os.ReadFile("testdata/future.seg")
	ok(t, err)
	if _, _, err := ReadHeader(fileOf(t, future)); !errors.Is(err, ErrVersion) {
		t.Fatalf("a file of the next version: %v", err)
	}
}
