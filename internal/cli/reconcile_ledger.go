package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/reconcile"
	"holdfast/sink"
)

// maxLedger bounds a ledger: it holds a few hundred bytes for each table and archive.
const maxLedger = 256 << 20

// readLedger reads what an earlier comparison wrote; nil where there is none yet.
func readLedger(path string, id sink.ID) (*reconcile.Ledger, error) {
	if path == "" {
		return nil, nil
	}
	at, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err == nil && at.Size() > maxLedger:
		err = fault.New(fault.ConfigurationLimit, "%q has %d bytes: it is no ledger", path, at.Size())
	}
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var l reconcile.Ledger
	switch err := json.Unmarshal(text, &l); {
	case err != nil:
		return nil, fault.New(fault.DataCorrupted, "%q is no ledger", path).Because(err).WithHint("name another file, or one that is not there yet")
	case l.StreamID != id.StreamID || l.Stream != id.Stream || l.Sink != id.Sink:
		return nil, fault.New(fault.InvalidParameterValue, "the ledger %q is of stream %q (%s) and sink %q", path, l.Stream, l.StreamID, l.Sink).WithHint("each stream and sink has a ledger of its own")
	}
	return &l, nil
}

// writeLedger writes the next one in its place, where nothing was different.
func writeLedger(path string, id sink.ID, l *reconcile.Ledger) error {
	if path == "" || l == nil {
		return nil
	}
	l.StreamID = id.StreamID
	text, err := json.MarshalIndent(l, "", " ")
	if err != nil {
		return err
	}
	d, err := disk.OpenBuffered(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(disk.Replace(d, ".", filepath.Base(path), append(text, '\n')), d.Close())
}

// proof tells what became of the rows that are not stored any more.
func proof(p *reconcile.Report, ledger bool) string {
	if p.Proof == nil {
		return ""
	}
	b := &strings.Builder{}
	older := fmt.Sprintf("seq %d to %d, which are not stored any more: ", p.Proof.First, p.Proof.Last)
	changed := false
	for _, d := range p.Differences {
		changed = changed || d.Kind == reconcile.Older
	}
	switch {
	case !ledger:
		return older + "not compared (--ledger FILE keeps digests for the next time)\n"
	case len(p.Proof.Why) > 0:
		fmt.Fprintf(b, "%snot proved: %s\n", older, strings.Join(p.Proof.Why, "; "))
	case changed:
		fmt.Fprintf(b, "%snot as they were on %s\n", older, p.Proof.Since.Format(time.RFC3339))
	default:
		fmt.Fprintf(b, "%sas they were on %s, by number and digest\n", older, p.Proof.Since.Format(time.RFC3339))
	}
	for _, r := range p.Proof.Unproved {
		fmt.Fprintf(b, "seq %d to %d: never compared; their rows were taken for true as they were found\n", r.First, r.Last)
	}
	return b.String()
}
