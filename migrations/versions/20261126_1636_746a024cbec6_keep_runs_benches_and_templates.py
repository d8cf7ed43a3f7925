"""Keep what runs benches templates and projects need

One purpose. Safe while the previous release still runs: add first, remove two releases later, rename in three steps.
Both directions are tested on SQLite and PostgreSQL.

Revision: 746a024cbec6, after 7c1e5b0a9d21, 2026-11-26 16:36:25.509849
"""

import sqlalchemy as sa
from alembic import op

revision = '746a024cbec6'
down_revision = '7c1e5b0a9d21'
branch_labels = None
depends_on = None

def upgrade() -> None:

    op.create_table('benches',
    sa.Column('public_id', sa.String(length=40), nullable=False),
    sa.Column('name', sa.String(length=200), nullable=False),
    sa.Column('actor', sa.String(length=200), nullable=False),
    sa.Column('status', sa.String(length=12), nullable=False),
    sa.Column('template', sa.String(length=60), nullable=False),
    sa.Column('incidents', sa.JSON(), nullable=False),
    sa.Column('models', sa.JSON(), nullable=False),
    sa.Column('repeats', sa.Integer(), nullable=False),
    sa.Column('spend_cap', sa.String(length=40), nullable=True),
    sa.Column('heartbeat_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("status IN ('running', 'finished', 'cancelled', 'interrupted')", name=op.f('ck_benches_status')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_benches')),
    sa.UniqueConstraint('public_id', name=op.f('uq_benches_public_id'))
    )
    with op.batch_alter_table('benches', schema=None) as batch_op:
        batch_op.create_index('ix_benches_created_at', ['created_at'], unique=False)

    op.create_table('cached_responses',
    sa.Column('key', sa.String(length=64), nullable=False),
    sa.Column('template', sa.String(length=60), nullable=False),
    sa.Column('model_ref', sa.String(length=300), nullable=True),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('usage', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('run', sa.String(length=40), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('hits', sa.Integer(), nullable=False),
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_cached_responses')),
    sa.UniqueConstraint('key', name=op.f('uq_cached_responses_key'))
    )
    with op.batch_alter_table('cached_responses', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_cached_responses_expires_at'), ['expires_at'], unique=False)

    op.create_table('incidents',
    sa.Column('name', sa.String(length=200), nullable=False),
    sa.Column('incident', sa.JSON(), nullable=False),
    sa.Column('created_by', sa.String(length=200), nullable=False),
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_incidents')),
    sa.UniqueConstraint('name', name=op.f('uq_incidents_name'))
    )
    op.create_table('projects',
    sa.Column('slug', sa.String(length=60), nullable=False),
    sa.Column('display_name', sa.String(length=100), nullable=False),
    sa.Column('description', sa.Text(), nullable=False),
    sa.Column('is_active', sa.Boolean(), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_projects')),
    sa.UniqueConstraint('slug', name=op.f('uq_projects_slug'))
    )
    op.create_table('prompt_templates',
    sa.Column('name', sa.String(length=60), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('title', sa.String(length=200), nullable=False),
    sa.Column('category', sa.String(length=60), nullable=False),
    sa.Column('system', sa.Text(), nullable=False),
    sa.Column('user', sa.Text(), nullable=False),
    sa.Column('preferred_model', sa.String(length=300), nullable=True),
    sa.Column('temperature', sa.String(length=40), nullable=True),
    sa.Column('max_tokens', sa.Integer(), nullable=True),
    sa.Column('cache_minutes', sa.Integer(), nullable=False),
    sa.Column('is_active', sa.Boolean(), nullable=False),
    sa.Column('is_current', sa.Boolean(), nullable=False),
    sa.Column('note', sa.Text(), nullable=False),
    sa.Column('created_by', sa.String(length=200), nullable=False),
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_prompt_templates')),
    sa.UniqueConstraint('name', 'version', name=op.f('uq_prompt_templates_name_version'))
    )
    with op.batch_alter_table('prompt_templates', schema=None) as batch_op:
        batch_op.create_index('uq_prompt_templates_one_current', ['name'], unique=True, sqlite_where=sa.text('is_current'), postgresql_where=sa.text('is_current'))

    op.create_table('provider_checks',
    sa.Column('provider_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('ok', sa.Boolean(), nullable=False),
    sa.Column('kind', sa.String(length=40), nullable=True),
    sa.Column('detail', sa.Text(), nullable=False),
    sa.Column('how', sa.String(length=10), nullable=False),
    sa.Column('key_source', sa.String(length=220), nullable=False),
    sa.Column('models', sa.Integer(), nullable=True),
    sa.Column('latency_ms', sa.Integer(), nullable=False),
    sa.Column('request_id', sa.String(length=200), nullable=True),
    sa.Column('actor', sa.String(length=200), nullable=False),
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['provider_id'], ['providers.id'], name=op.f('fk_provider_checks_provider_id_providers'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_provider_checks'))
    )
    with op.batch_alter_table('provider_checks', schema=None) as batch_op:
        batch_op.create_index('ix_provider_checks_provider_id', ['provider_id', 'id'], unique=False)

    op.create_table('credential_counters',
    sa.Column('credential_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('period', sa.String(length=7), nullable=False),
    sa.Column('calls', sa.Integer(), nullable=False),
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['credential_id'], ['credentials.id'], name=op.f('fk_credential_counters_credential_id_credentials'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_credential_counters')),
    sa.UniqueConstraint('credential_id', 'period', name=op.f('uq_credential_counters_credential_id_period'))
    )
    op.create_table('bench_cells',
    sa.Column('bench_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.Column('incident', sa.Integer(), nullable=False),
    sa.Column('model', sa.String(length=300), nullable=False),
    sa.Column('repeat', sa.Integer(), nullable=False),
    sa.Column('status', sa.String(length=10), nullable=False),
    sa.Column('most_cost', sa.String(length=40), nullable=True),
    sa.Column('why', sa.Text(), nullable=True),
    sa.Column('run_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("status IN ('planned', 'running', 'done', 'failed', 'cancelled', 'skipped')", name=op.f('ck_bench_cells_status')),
    sa.ForeignKeyConstraint(['bench_id'], ['benches.id'], name=op.f('fk_bench_cells_bench_id_benches'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['run_id'], ['runs.id'], name=op.f('fk_bench_cells_run_id_runs'), ondelete='SET NULL'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_bench_cells')),
    sa.UniqueConstraint('bench_id', 'incident', 'model', 'repeat', name=op.f('uq_bench_cells_bench_id_incident_model_repeat'))
    )
    with op.batch_alter_table('bench_cells', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_bench_cells_bench_id'), ['bench_id'], unique=False)
        batch_op.create_index(batch_op.f('ix_bench_cells_run_id'), ['run_id'], unique=False)

    op.create_table('ratings',
    sa.Column('run_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('owner', sa.String(length=200), nullable=False),
    sa.Column('score', sa.Integer(), nullable=False),
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint('score BETWEEN 1 AND 5', name=op.f('ck_ratings_score')),
    sa.ForeignKeyConstraint(['run_id'], ['runs.id'], name=op.f('fk_ratings_run_id_runs'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_ratings')),
    sa.UniqueConstraint('run_id', 'owner', name=op.f('uq_ratings_run_id_owner'))
    )
    with op.batch_alter_table('runs', schema=None) as batch_op:
        batch_op.add_column(sa.Column('template_version', sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column('decided_note', sa.Text(), nullable=True))
        batch_op.add_column(sa.Column('cached_from', sa.String(length=40), nullable=True))
        batch_op.add_column(sa.Column('key_source', sa.String(length=220), nullable=True))
        batch_op.add_column(sa.Column('project', sa.String(length=60), nullable=True))
        batch_op.create_index('ix_runs_template', ['template', 'template_version'], unique=False)

def downgrade() -> None:

    with op.batch_alter_table('runs', schema=None) as batch_op:
        batch_op.drop_index('ix_runs_template')
        batch_op.drop_column('project')
        batch_op.drop_column('key_source')
        batch_op.drop_column('decided_note')
        batch_op.drop_column('cached_from')
        batch_op.drop_column('template_version')

    op.drop_table('ratings')
    with op.batch_alter_table('bench_cells', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_bench_cells_run_id'))
        batch_op.drop_index(batch_op.f('ix_bench_cells_bench_id'))

    op.drop_table('bench_cells')
    op.drop_table('credential_counters')
    with op.batch_alter_table('provider_checks', schema=None) as batch_op:
        batch_op.drop_index('ix_provider_checks_provider_id')

    op.drop_table('provider_checks')
    with op.batch_alter_table('prompt_templates', schema=None) as batch_op:
        batch_op.drop_index('uq_prompt_templates_one_current', sqlite_where=sa.text('is_current'), postgresql_where=sa.text('is_current'))

    op.drop_table('prompt_templates')
    op.drop_table('projects')
    op.drop_table('incidents')
    with op.batch_alter_table('cached_responses', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_cached_responses_expires_at'))

    op.drop_table('cached_responses')
    with op.batch_alter_table('benches', schema=None) as batch_op:
        batch_op.drop_index('ix_benches_created_at')

    op.drop_table('benches')

