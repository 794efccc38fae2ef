/**
 * Results of custom caches depend on key values before and after a write. They come from the
 * database, under the write's own lock: another writer's change at any moment is not missed.
 */
import assert from 'node:assert/strict';
import { beforeOurs, betweenReadAndWrite, prepareRaces } from './races.js';
import { describePaths } from './write-paths.js';

const found = { rejectOnEmpty: true } as const;
const before = 3;
const both = 4;

describePaths(
  'result entries',
  (path) => {
    path('both columns of a composite key move', { extra: both }, async ({ models: { Article }, primed }) => {
      const article = await Article.findByPk(1, found);
      await primed();
      await article.update({ section: 'sport', kind: 'essay' });
    });

    path('one column of a composite key moves, the other one is not loaded', { extra: both }, async ({ models: { Article }, primed }) => {
      const article = await Article.findByPk(1, { ...found, attributes: ['id', 'section'] });
      await primed();
      await article.update({ section: 'world' });
    });

    path('one column moves, the other one was changed since by another process', { extra: both }, async ({ models: { Article }, other, primed }) => {
      const article = await Article.findByPk(1, found);
      await other.models.Article.update({ kind: 'essay' }, { where: { id: 1 } });
      await primed();
      await article.update({ section: 'world' });
    });

    path('partial, stale and changed in hand, saved with fields', { extra: both }, async ({ models: { Article }, other, primed }) => {
      const article = await Article.findByPk(1, { ...found, attributes: ['id', 'kind'] });
      await other.models.Article.update({ section: 'world' }, { where: { id: 1 } });
      await primed();
      article.set({ section: 'nowhere', kind: 'essay', rank: 7 });
      await article.save({ fields: ['kind'] });
    });

    path('partial, stale and changed in hand, destroyed', { extra: before }, async ({ models: { Article }, other, primed }) => {
      const article = await Article.findByPk(1, { ...found, attributes: ['id', 'section'] });
      await other.models.Article.update({ section: 'world', kind: 'essay' }, { where: { id: 1 } });
      await primed();
      article.set('section', 'nowhere');
      await article.destroy();
    });

    path('through a chain of renames by two processes', { racy: true }, async ({ models: { Score }, other, primed }) => {
      const ours = await Score.findByPk(1, found);
      const theirs = await other.models.Score.findByPk(1, found);
      await primed();
      await ours.update({ player: 'lee' });
      await theirs.update({ player: 'zoe' });
      await ours.update({ player: 'kim', note: 'again' });
    });

    path('the answer changes though the key does not', { extra: both }, async ({ models: { Avatar }, primed }) => {
      const avatar = await Avatar.findByPk(2, { ...found, attributes: ['id'] });
      await primed();
      await avatar.update({ isPrimary: true });
    });

    path('the key moves to null and back', { extra: 2 * both }, async ({ models: { Avatar }, primed }) => {
      const avatar = await Avatar.findByPk(1, found);
      await primed();
      await avatar.update({ userId: null });
      await avatar.update({ userId: 2 });
    });

    path('another process moves the row before the lock is taken: save', { racy: true }, async ({ sequelize, models: { Score }, other, primed }) => {
      const score = await Score.findByPk(1, found);
      await primed();
      await beforeOurs(sequelize, () => other.models.Score.update({ player: 'zoe' }, { where: { id: 1 } }), () => score.update({ player: 'lee' }));
    });

    path('another process moves the row before the lock is taken: destroy', { racy: true }, async ({ sequelize, models: { Score }, other, primed }) => {
      const score = await Score.findByPk(1, found);
      await primed();
      await beforeOurs(sequelize, () => other.models.Score.update({ player: 'zoe' }, { where: { id: 1 } }), () => score.destroy());
    });

    path('another process moves a row into a bulk update before the lock is taken', { racy: true }, async ({ sequelize, models: { Score }, other, primed }) => {
      await primed();
      await beforeOurs(
        sequelize,
        () => other.models.Score.update({ player: 'kim' }, { where: { id: 3 } }),
        () => Score.update({ player: 'zoe' }, { where: { player: 'kim' } }),
      );
    });

    for (const [name, write] of [
      ['save', 'save'],
      ['bulk update', 'update'],
      ['destroy', 'destroy'],
    ] as const) {
      path(`another process wants to move the row after it was read: ${name}`, { racy: true }, async (stage) => {
        const { sequelize, models: { Score }, other, outside, primed, cachedRun } = stage;
        const score = await Score.findByPk(1, found);
        await primed();
        const outcome = await betweenReadAndWrite(
          sequelize,
          outside.sequelize,
          () => other.models.Score.update({ player: 'zoe' }, { where: { id: 1 } }),
          () =>
            write === 'save'
              ? score.update({ player: 'lee' })
              : write === 'destroy'
                ? score.destroy()
                : Score.update({ player: 'lee' }, { where: { player: 'kim' } }),
        );
        if (cachedRun) assert.equal(outcome, 'waited', 'what was read stays so until the commit');
      });
    }

    path('another process adds a row to a bulk update after it was read: the plugin’s transaction is begun again', { racy: true }, async (stage) => {
      const { sequelize, models: { Score }, other, outside, primed, cachedRun } = stage;
      await primed();
      const outcome = await betweenReadAndWrite(
        sequelize,
        outside.sequelize,
        () => other.models.Score.update({ player: 'kim' }, { where: { id: 3 } }),
        () => Score.update({ player: 'zoe' }, { where: { player: 'kim' } }),
      );
      if (cachedRun) assert.equal(outcome, 'finished before');
    });

    path('two transactions move one row, one after the other', { racy: true }, async ({ sequelize, models: { Score }, other, check, primed, aside }) => {
      await primed();
      let theirs: Promise<unknown> = Promise.resolve();
      await sequelize.transaction(async (transaction) => {
        await Score.update({ player: 'lee' }, { where: { id: 1 }, transaction });
        await aside(async () => {
          theirs = other.models.Score.update({ player: 'zoe' }, { where: { id: 1 } });
        });
        await check('theirs waits');
      });
      await theirs;
    });
  },
  { prepare: prepareRaces },
);
