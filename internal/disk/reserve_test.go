package disk

import (
	"errors"
	"testing"
)

// TestReserve replaces a file on a full disk: from the reserve where there is one,
// and not at all where there is none. It is kept again once there is room.
func TestReserve(t *testing.T) {
	d := NewMem()
	used := func() int64 {
		room, err := d.Space()
		if err != nil {
			t.Fatal(err)
		}
		return room.Total - room.Free
	}
	if err := errors.Join(KeepReserve(d), KeepReserve(d), ReplaceOnFull(d, "", "SINKS", []byte("one"))); err != nil {
		t.Fatal(err)
	}
	d.SetQuota(used(), 0)
	if err := Replace(d, "", "SINKS", []byte("two")); !IsFull(err) {
		t.Fatalf("without room: %v", err)
	}
	if err := ReplaceOnFull(d, "", "SINKS", []byte("two")); err != nil {
		t.Fatalf("with a reserve: %v", err)
	}
	if text, err := ReadFile(d, "SINKS", 100); err != nil || string(text) != "two" {
		t.Errorf("it holds %q: %v", text, err)
	}
	if err := ignoreMissing(d.Remove(reserveName)); err != nil { // as where others take what it leaves
		t.Fatal(err)
	}
	d.SetQuota(used(), 0)
	if err := ReplaceOnFull(d, "", "SINKS", []byte("three")); !IsFull(err) {
		t.Errorf("without room and reserve: %v", err)
	}
	if text, err := ReadFile(d, "SINKS", 100); err != nil || string(text) != "two" {
		t.Errorf("after a refusal it holds %q: %v", text, err)
	}
	d.SetQuota(0, 0)
	if err := KeepReserve(d); err != nil {
		t.Fatal(err)
	}
	f, err := d.Open(reserveName, false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if size, err := f.Size(); err != nil || size != reserveSize {
		t.Errorf("%d bytes are kept: %v", size, err)
	}
}
