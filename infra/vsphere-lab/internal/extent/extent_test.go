package extent

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

const block = 64 << 10

func TestNormalizeAlignsClipsSortsAndJoins(t *testing.T) {
	in := []Extent{{3*block + 5, 10}, {0, 1}, {block, block}, {9*block + 1, block}}
	want := []Extent{{0, 2 * block}, {3 * block, block}, {9 * block, block + 100}}
	if got := Normalize(in, block, 10*block+100); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if in[0].Offset != 3*block+5 {
		t.Error("the input was changed")
	}
}

func TestNormalizeDropsWhatLiesBehindTheEnd(t *testing.T) {
	if got := Normalize([]Extent{{5 * block, block}}, block, 4*block); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestFromCutsTheExtentAtTheOffset(t *testing.T) {
	got := From([]Extent{{0, 10}, {20, 10}, {40, 10}}, 25)
	if want := []Extent{{25, 5}, {40, 10}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestSubtractSplitsAndRemoves(t *testing.T) {
	in := []Extent{{0, 100}, {200, 50}, {300, 10}}
	got := Subtract(in, []Extent{{10, 10}, {90, 120}, {300, 10}})
	if want := []Extent{{0, 10}, {20, 70}, {210, 40}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func sparseFile(t *testing.T, size int64, data map[int64]string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.raw")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	for at, text := range data {
		if _, err := f.WriteAt([]byte(text), at); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestCloneCopiesBytesAndHoles(t *testing.T) {
	source := sparseFile(t, 8<<20, map[int64]string{1 << 20: "one", 8<<20 - 3: "end"})
	target := filepath.Join(t.TempDir(), "copy.raw")
	if err := Clone(source, target); err != nil {
		t.Fatal(err)
	}
	want, _ := os.ReadFile(source)
	got, _ := os.ReadFile(target)
	if string(got) != string(want) {
		t.Error("the bytes differ")
	}
	allocated, err := Allocated(target, block, 8<<20)
	if err != nil {
		t.Fatal(err)
	}
	if want := []Extent{{1 << 20, block}, {8<<20 - block, block}}; !reflect.DeepEqual(allocated, want) {
		t.Errorf("allocated %v, want %v", allocated, want)
	}
}

func TestChangedFindsBlocksThatDifferAndTreatsAShortFileAsZeros(t *testing.T) {
	before := sparseFile(t, 4*block, map[int64]string{0: "same", block: "old"})
	after := sparseFile(t, 8*block, map[int64]string{0: "same", block: "new", 7 * block: "grown"})
	got, err := Changed(before, after, block, 8*block)
	if err != nil {
		t.Fatal(err)
	}
	if want := []Extent{{block, block}, {7 * block, block}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestChangedSeesDataThatBecameAHole(t *testing.T) {
	before := sparseFile(t, 4*block, map[int64]string{2 * block: "gone"})
	after := sparseFile(t, 4*block, nil)
	got, err := Changed(before, after, block, 4*block)
	if err != nil {
		t.Fatal(err)
	}
	if want := []Extent{{2 * block, block}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
