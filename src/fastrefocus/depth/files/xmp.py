"""XMP in JPEG files: properties read, removed and added; the pixels and all else stay byte for byte.

A JPEG segment holds less than 64 KiB. So XMP comes in two documents (Adobe, XMP Specification Part 3, 2020, section
1.1.3): a standard one, in one APP1 segment, and an extended one, cut into as many as it takes. Each of these begins
with the GUID, which is the MD5 sum of the whole and stands in the standard one's property HasExtendedXMP, the whole's
length, and the part's offset.
"""

import hashlib
import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from xml.dom.minidom import CharacterData, Document, Element, Node
from xml.parsers.expat import ExpatError

from fastrefocus.depth.files import mpf
from fastrefocus.errors import DepthFileError

APP1 = 0xE1
_APP0, _START_OF_SCAN, _END_OF_IMAGE = 0xE0, 0xDA, 0xD9
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # but tables
_STANDARD, _EXTENDED = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
_LARGEST_STANDARD, _LARGEST_PART = 65502, 65400  # bytes; the second as other programs have it
_PART_HEADER = struct.Struct(">32sII")  # GUID, length of the whole, offset of the part

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_NOTE = "http://ns.adobe.com/xmp/note/"
_EMPTY = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}"></rdf:RDF></x:xmpmeta>'.encode()
#: White space as characters that no XML holds, and these as references.
_AS_MARKS = {ord("\t"): "\1", ord("\n"): "\2", ord("\r"): "\3"}
_AS_REFERENCES = {1: "&#9;", 2: "&#10;", 3: "&#13;"}
_PACKET = ('<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n', '\n<?xpacket end="w"?>')


class Segment(NamedTuple):
    """A JPEG marker segment before the first scan, without marker and length."""

    marker: int
    payload: bytes


class JpegFile(NamedTuple):
    """A JPEG file: its segments up to the first scan, and the rest from there on."""

    segments: list[Segment]
    rest: bytes

    @classmethod
    def split(cls, data: bytes, name: str) -> "JpegFile":
        """Cut a file into its segments; `DepthFileError` if it is damaged before the first scan."""
        segments: list[Segment] = []
        at = 2
        while True:
            while data[at : at + 2] == b"\xff\xff":  # fill bytes
                at += 1
            marker = data[at + 1] if data[at : at + 1] == b"\xff" and at + 4 <= len(data) else _END_OF_IMAGE
            if marker == _START_OF_SCAN:
                return cls(segments, data[at:])
            length = int.from_bytes(data[at + 2 : at + 4], "big")
            if marker == _END_OF_IMAGE or length < 2 or at + 2 + length > len(data):
                raise DepthFileError(f"{name} is not a whole JPEG file: it is damaged or cut short at byte {at}")
            segments.append(Segment(marker, data[at + 4 : at + 2 + length]))
            at += 2 + length

    def size(self) -> tuple[int, int] | None:
        """Return height and width as stored, which the frame header says; None where there is none."""
        for marker, payload in self.segments:
            if marker in _FRAME_HEADERS and len(payload) > 4:
                height, width = struct.unpack_from(">HH", payload, 1)
                return height, width
        return None

    def is_whole(self) -> bool:
        """Say whether the picture comes to its end; no pixels look like the marker."""
        return bytes((0xFF, _END_OF_IMAGE)) in self.rest

    def join(self) -> bytes:
        """Return the bytes of the file."""
        parts = [b"\xff\xd8"]
        for marker, payload in self.segments:
            parts += [struct.pack(">BBH", 0xFF, marker, len(payload) + 2), payload]
        return b"".join([*parts, self.rest])


class XmpDocument:
    """The properties of an XMP document; one that is not simple text is neither read nor changed.

    Parameters
    ----------
    data : bytes
        The XML; b"" for a document without properties.
    name : str
        Whose it is, for the error message.

    Raises
    ------
    DepthFileError
        If it is not well-formed, is no XMP, or declares a document type: entities could make it grow without bound.
    """

    def __init__(self, data: bytes, name: str) -> None:
        from defusedxml import DefusedXmlException
        from defusedxml.minidom import parseString

        try:
            document: Document = parseString(data.strip(b"\0 \t\r\n") or _EMPTY, forbid_dtd=True)
        except (ExpatError, DefusedXmlException, ValueError, LookupError) as error:  # the last two: its encoding
            raise DepthFileError(f"{name} has XMP that is not plain well-formed XML ({error})") from None
        root = document.documentElement
        candidates = [] if root is None else [root, *_children(root)]
        rdf = next((element for element in candidates if _is(element, "RDF")), None)
        if root is None or rdf is None:
            raise DepthFileError(f"{name} has XMP without rdf:RDF")
        self._document, self._root, self._rdf, self._name = document, root, rdf, name

    def properties(self, namespace: str) -> dict[str, str]:
        """Return the simple properties of a namespace: attributes and elements are the same in XMP."""
        found = {}
        for description in self._descriptions():
            for attribute in description.attributes.values():
                if attribute.namespaceURI == namespace:
                    found[attribute.localName] = attribute.value
            for child in _children(description):
                if child.namespaceURI == namespace:
                    found[child.localName] = "".join(getattr(node, "data", "") for node in child.childNodes)
        return found

    def remove(self, namespace: str) -> None:
        """Remove all properties of a namespace, and a description of which nothing is left."""
        for description in list(self._descriptions()):
            before = description.attributes.length + description.childNodes.length
            for attribute in list(description.attributes.values()):
                if attribute.namespaceURI == namespace:
                    description.removeAttributeNode(attribute)
            for child in list(_children(description)):
                if child.namespaceURI == namespace:
                    description.removeChild(child)
            after = description.attributes.length + description.childNodes.length
            if after < before and not _says_anything(description):
                self._rdf.removeChild(description)

    def add(self, prefix: str, namespace: str, properties: Mapping[str, str]) -> None:
        """Add properties of a namespace, in a description of their own."""
        description = self._document.createElementNS(_RDF, "rdf:Description")
        description.setAttribute("xmlns:rdf", _RDF)
        description.setAttributeNS(_RDF, "rdf:about", "")
        description.setAttribute(f"xmlns:{prefix}", namespace)
        for local_name, value in properties.items():
            description.setAttributeNS(namespace, f"{prefix}:{local_name}", value)
        self._rdf.appendChild(description)

    def serialise(self) -> bytes:
        """Return the XML, without a packet wrapper."""
        try:
            _keep_white_space(self._root)
            text: str = self._root.toxml()
            return text.translate(_AS_REFERENCES).encode()
        except RecursionError:
            raise DepthFileError(f"{self._name} has XMP nested too deeply to be written again") from None

    def _descriptions(self) -> Iterator[Element]:
        return (child for child in _children(self._rdf) if _is(child, "Description"))


def read_xmp(file: JpegFile, name: str) -> tuple[XmpDocument, XmpDocument]:
    """Return the standard XMP and the extended XMP of a file, without properties where it has none.

    Raises
    ------
    DepthFileError
        If one is damaged: not XMP, or parts of the extended one missing, overlapping, or not as its checksum says.
    """
    payloads = [payload for marker, payload in file.segments if marker == APP1]
    packets = [payload.removeprefix(_STANDARD) for payload in payloads if payload.startswith(_STANDARD)]
    standard = XmpDocument(packets[0] if packets else b"", name)
    guid = standard.properties(_NOTE).get("HasExtendedXMP", "")
    parts = [payload.removeprefix(_EXTENDED) for payload in payloads if payload.startswith(_EXTENDED)]
    return standard, XmpDocument(_joined(parts, guid.strip(), name) if guid else b"", name)


def with_xmp(file: JpegFile, standard: XmpDocument, extended: XmpDocument, name: str) -> JpegFile:
    """Return the file with other XMP, which stands behind the EXIF, before what may refer to offsets behind it.

    Raises
    ------
    DepthFileError
        If the standard XMP is larger than one segment holds.
    """
    whole = extended.serialise()
    guid = _guid_of(whole)
    standard.remove(_NOTE)
    standard.add("xmpNote", _NOTE, {"HasExtendedXMP": guid})
    packet = standard.serialise().join(part.encode() for part in _PACKET)
    if len(packet) > _LARGEST_STANDARD:
        raise DepthFileError(
            f"{name} has XMP of {len(packet)} bytes; a JPEG file holds {_LARGEST_STANDARD} beside depth"
        )
    added = [Segment(APP1, _STANDARD + packet)]
    for offset in range(0, len(whole), _LARGEST_PART):
        header = _PART_HEADER.pack(guid.encode(), len(whole), offset)
        added.append(Segment(APP1, _EXTENDED + header + whole[offset : offset + _LARGEST_PART]))
    kept = [segment for segment in file.segments if not segment.payload.startswith((_STANDARD, _EXTENDED))]
    head = 0
    while head < len(kept) and (kept[head].marker == _APP0 or kept[head].payload.startswith(b"Exif\0")):
        head += 1
    return _with_pictures_found(file, JpegFile(kept[:head] + added + kept[head:], file.rest))


def _with_pictures_found(before: JpegFile, after: JpegFile) -> JpegFile:
    """Return the changed file with an index of its pictures that is right again."""
    segments = list(after.segments)
    size = _size_of(segments) - _size_of(before.segments)
    for number, segment in enumerate(segments):
        if segment.marker == mpf.APP2 and segment.payload.startswith(mpf.SIGNATURE):
            old = before.segments[before.segments.index(segment) + 1 :]
            behind = _size_of(segments[number + 1 :]) - _size_of(old)
            segments[number] = Segment(mpf.APP2, mpf.adjusted(segment.payload, behind, size))
    return JpegFile(segments, after.rest)


def _size_of(segments: list[Segment]) -> int:
    return sum(4 + len(payload) for _, payload in segments)


def _joined(parts: list[bytes], guid: str, name: str) -> bytes:
    """Put the parts of the extended XMP together, in whatever order they come."""
    placed = {}
    for part in parts:
        if len(part) > _PART_HEADER.size and part.startswith(guid.encode()):
            _, total, offset = _PART_HEADER.unpack_from(part)
            placed[offset] = total, part[_PART_HEADER.size :]
    whole = bytearray()
    for offset, (_, part) in sorted(placed.items()):
        if offset == len(whole):
            whole += part
    if not placed or any(total != len(whole) for total, _ in placed.values()):
        raise DepthFileError(f"{name} lacks parts of its extended XMP, in which the depth may be")
    if _guid_of(whole) != guid.upper():
        raise DepthFileError(f"{name} has extended XMP that is damaged: its MD5 sum is not {guid}")
    return bytes(whole)


def _says_anything(description: Element) -> bool:
    """Say whether a description has a property: anything but what it is about, and declarations."""
    attributes = (attribute.name for attribute in description.attributes.values())
    return any(_children(description)) or any(
        not (name.startswith("xmlns") or name.endswith((":about", ":lang"))) for name in attributes
    )


def _keep_white_space(node: Node) -> None:
    """Mark what XML readers would take for plain white space, which minidom (before Python 3.13) writes as it is."""
    if isinstance(node, Element):
        for attribute in node.attributes.values():
            attribute.value = attribute.value.translate(_AS_MARKS)
    elif isinstance(node, CharacterData) and "\r" in node.data:
        node.data = node.data.replace("\r", _AS_MARKS[ord("\r")])
    for child in node.childNodes:
        _keep_white_space(child)


def _guid_of(whole: bytes | bytearray) -> str:
    return hashlib.md5(whole, usedforsecurity=False).hexdigest().upper()


def _children(element: Element) -> Iterator[Element]:
    return (child for child in element.childNodes if isinstance(child, Element))


def _is(element: Element, local_name: str) -> bool:
    return element.namespaceURI == _RDF and element.localName == local_name
