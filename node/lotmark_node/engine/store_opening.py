"""How the ledger's store is opened: its column families, and what RocksDB may use."""

from pathlib import Path

from rocksdict import (
    BlockBasedIndexType,
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
)

from lotmark_node.engine.errors import StoreLocked
from lotmark_node.engine.store_family import damaged

MEMTABLES_SIZE_MAX = 48 << 20
BLOCK_CACHE_SIZE = 32 << 20
FAMILIES = ("state", "blocks", "results", "tiles", "index", "items", "provenance")

_COMPRESSED = ("provenance",)  # ids of items, over and over


def open_store(folder: Path) -> Rdict:
    """Open or make a store with all its families.

    Raises:
        StoreLocked: Another process has it open.
        StoreCorrupt: RocksDB finds it damaged.
    """
    families = {name: _options(compressed=name in _COMPRESSED) for name in FAMILIES}
    try:
        return Rdict(str(folder), _options(), column_families=families)
    except Exception as error:  # rocksdict raises plain Exception, its text tells which
        if "/LOCK" in str(error):
            raise StoreLocked(
                f"{folder} is open in another process; stop that node first"
            ) from error
        raise damaged(folder, error) from error


def _options(*, compressed: bool = False) -> Options:
    blocks = BlockBasedOptions()
    blocks.set_block_cache(_CACHE)
    blocks.set_bloom_filter(10, block_based=False)
    # In pieces: whole, those of a file of some size fit into no shard of the cache and would be
    # read again for every row.
    blocks.set_cache_index_and_filter_blocks(True)
    blocks.set_index_type(BlockBasedIndexType.two_level_index_search())
    blocks.set_partition_filters(True)
    blocks.set_pin_top_level_index_and_filter(True)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)
    options.set_block_based_table_factory(blocks)
    compression = DBCompressionType.lz4() if compressed else DBCompressionType.none()
    options.set_compression_type(compression)
    options.set_max_background_jobs(2)
    options.set_write_buffer_size(MEMTABLES_SIZE_MAX // 3)
    options.set_db_write_buffer_size(MEMTABLES_SIZE_MAX)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(4 << 20)  # or they grow with every write
    options.set_max_manifest_file_size(16 << 20)
    return options


_CACHE = Cache(BLOCK_CACHE_SIZE)
