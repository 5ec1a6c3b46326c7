package extent

import (
	"bytes"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Data lists the allocated ranges of a file below size, by SEEK_DATA and
// SEEK_HOLE.
func Data(f *os.File, size int64) (out []Extent) {
	for at := int64(0); at < size; {
		start, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if err != nil || start >= size {
			break
		}
		end, err := unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE)
		if err != nil || end > size {
			end = size
		}
		out = append(out, Extent{start, end - start})
		at = end
	}
	return out
}

// Allocated lists the blocks of the file that hold data, as a normalized list.
func Allocated(path string, block, size int64) ([]Extent, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Normalize(Data(f, size), block, size), nil
}

// Grow makes the file at least that long; the new part is a hole.
func Grow(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Size() >= size {
		return err
	}
	return f.Truncate(size)
}

// Clone makes target a copy of source, with the same holes. Where the
// filesystem can share blocks between files, it does.
func Clone(source, target string) error {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(target, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := clone(in, out); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}

func clone(in, out *os.File) error {
	if unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) == nil {
		return nil
	}
	st, err := in.Stat()
	if err != nil {
		return err
	}
	if err := out.Truncate(st.Size()); err != nil {
		return err
	}
	for _, e := range Data(in, st.Size()) {
		if err := copyRange(in, out, e); err != nil {
			return err
		}
	}
	return nil
}

// copyRange uses the files' own offsets, so that the kernel can copy by itself
// (copy_file_range).
func copyRange(in, out *os.File, e Extent) error {
	if _, err := in.Seek(e.Offset, io.SeekStart); err != nil {
		return err
	}
	if _, err := out.Seek(e.Offset, io.SeekStart); err != nil {
		return err
	}
	_, err := io.CopyN(out, in, e.Length)
	return err
}

// Changed lists the blocks in which two files differ. A file that is shorter
// than size reads as zeros behind its end, and holes of both are not read.
func Changed(oldPath, newPath string, block, size int64) ([]Extent, error) {
	before, err := os.Open(oldPath)
	if err != nil {
		return nil, err
	}
	defer before.Close()
	after, err := os.Open(newPath)
	if err != nil {
		return nil, err
	}
	defer after.Close()
	var out []Extent
	candidates := append(Data(before, size), Data(after, size)...)
	for _, e := range Normalize(candidates, block, size) {
		changed, err := compare(before, after, e, block)
		if err != nil {
			return nil, err
		}
		out = append(out, changed...)
	}
	return Normalize(out, block, size), nil
}

func compare(before, after io.ReaderAt, e Extent, block int64) (out []Extent, err error) {
	b, a := make([]byte, block), make([]byte, block)
	for at := e.Offset; at < e.End(); at += block {
		n := min(block, e.End()-at)
		if err := readPadded(before, b[:n], at); err != nil {
			return nil, err
		}
		if err := readPadded(after, a[:n], at); err != nil {
			return nil, err
		}
		if !bytes.Equal(b[:n], a[:n]) {
			out = append(out, Extent{at, n})
		}
	}
	return out, nil
}

func readPadded(r io.ReaderAt, p []byte, at int64) error {
	n, err := r.ReadAt(p, at)
	if err == io.EOF {
		clear(p[n:])
		return nil
	}
	return err
}
